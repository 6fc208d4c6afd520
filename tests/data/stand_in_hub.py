"""A Hub of two datasets, on this machine: run as a script, it reads from itself, closes, and reads once more.

The address of the Hub and the place of its cache are fixed when its client is imported, hence a process of its own.
Prints one JSON object: for "open" and "closed", source and split to the first row and the origin, or to the sentence;
under "labelled" the same for a labelled set, read as a stream, and under "copies" the files kept of that.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REVISION = "a" * 40


def lines(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


FILES = {
    "winnow/tiny": {"train.jsonl": lines([{"instruction": f"Say {i}", "output": str(i)} for i in range(50)])},
    "winnow/signs": {
        f"{split}.jsonl": lines([{"weight": i, "target": i * 2.5} for i in range(first, first + 40)])
        for split, first in (("train", 0), ("test", 100))
    },
}
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
        elif (name := next((name for name in FILES if name in path), "")) == "":
            self.answer(401, error="RepoNotFound")
        elif "/tree/" in path:
            entries = [
                {"type": "file", "path": file, "size": len(content), "oid": "b" * 40}
                for file, content in FILES[name].items()
            ]
            self.answer(200, json.dumps(entries).encode())
        elif path.startswith("/api/"):
            about = {"id": name, "sha": REVISION, "private": False, "tags": [], "downloads": 0, "likes": 0}
            self.answer(200, json.dumps(about | {"siblings": [{"rfilename": file} for file in FILES[name]]}).encode())
        elif (file := path.rsplit("/", 1)[-1]) in FILES[name]:
            self.answer(200, FILES[name][file])
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

    from engine.data.labelled import read_labelled
    from engine.data.sources import read_rows
    from engine.grids import LabelledSettings
    from engine.workspace import WinnowError

    def read(source: str, split: str) -> dict[str, object]:
        try:
            rows = read_rows(source, split, skip=5, limit=3)
        except WinnowError as error:
            return {"sentence": str(error)}
        return {"rows": [row["response"] for row in rows.rows], "origin": rows.origin}

    def stream(split: str) -> dict[str, object]:
        settings = LabelledSettings(
            source="winnow/signs", test_split=split, task="numbers", streaming=True, limit=12, test_limit=3
        )
        try:
            labelled = read_labelled(settings)
        except WinnowError as error:
            return {"sentence": str(error)}
        return {"labels": labelled.labels.tolist(), "origin": labelled.origin, "rows": labelled.row.tolist()}

    labelled = {split: stream(split) for split in ("test", "", "final", "train")}
    kept = [path.name for path in Path(os.environ["HF_HOME"]).rglob("*") if path.suffix in (".jsonl", ".arrow")]
    found = {"open": {f"{source} {split}": read(source, split) for source, split in READS}}
    server.shutdown()
    server.server_close()
    labelled["closed"] = stream("test")
    found |= {"labelled": labelled, "copies": kept}
    found["closed"] = {f"{source} {split}": read(source, split) for source, split in READS}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
