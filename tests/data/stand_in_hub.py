"""A Hub of one dataset, on this machine: run as a script, it reads from itself, closes, and reads once more.

The address of the Hub and the place of its cache are fixed when its client is imported, hence a process of its own.
Prints one JSON object: for "open" and "closed", source and split to the first row and the origin, or to the sentence.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REVISION = "a" * 40
FILE = "train.jsonl"
CONTENT = "".join(json.dumps({"instruction": f"Say {i}", "output": str(i)}) + "\n" for i in range(50)).encode()
READS = (("winnow/tiny", "train"), ("winnow/tiny", "test"), ("winnow/none", "train"), ("winnow/gated", "train"))
READS += (("winnow/busy", "train"),)


class Hub(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if "/winnow/gated" in path:
            self.answer(403, error="GatedRepo")
        elif "/winnow/busy" in path:
            self.answer(429)
        elif "/winnow/tiny" not in path:
            self.answer(401, error="RepoNotFound")
        elif "/tree/" in path:
            self.answer(
                200, json.dumps([{"type": "file", "path": FILE, "size": len(CONTENT), "oid": "b" * 40}]).encode()
            )
        elif path.startswith("/api/"):
            about = {"id": "winnow/tiny", "sha": REVISION, "private": False, "tags": [], "downloads": 0, "likes": 0}
            self.answer(200, json.dumps(about | {"siblings": [{"rfilename": FILE}]}).encode())
        elif path.endswith(FILE):
            self.answer(200, CONTENT)
        else:
            self.answer(404, error="EntryNotFound")

    def answer(self, status: int, body: bytes = b"{}", error: str = "") -> None:
        self.send_response(status)
        headers = {"X-Repo-Commit": REVISION, "ETag": f'"{"c" * 40}"', "Content-Length": str(len(body))}
        for name, value in headers.items() if not error else [*headers.items(), ("X-Error-Code", error)]:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"

    from engine.data.sources import read_rows
    from engine.workspace import WinnowError

    def read(source: str, split: str) -> dict[str, object]:
        try:
            rows = read_rows(source, split, skip=5, limit=3)
        except WinnowError as error:
            return {"sentence": str(error)}
        return {"rows": [row["response"] for row in rows.rows], "origin": rows.origin}

    found = {"open": {f"{source} {split}": read(source, split) for source, split in READS}}
    server.shutdown()
    server.server_close()
    found["closed"] = {f"{source} {split}": read(source, split) for source, split in READS}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
