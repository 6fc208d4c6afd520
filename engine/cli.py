"""The command line, with the same words as the app. Logs go to stderr, results to stdout.

Exit status: 0 = done, 1 = the run failed (one sentence on stderr), 2 = wrong usage.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from engine.common.errors import WinnowError
from engine.config.kinds import PRUNING, Recipe
from engine.config.load import RecipeError, load_recipe, ready_made
from engine.export.tables import VERDICT, json_rows, run_table, verdict_table, write_table
from engine.storage import former
from engine.storage.ledger import Ledger, Run
from engine.storage.tables import SCHEMAS
from engine.storage.workspace import Workspace, open_workspace

DEMOS = ("demo-kl", "demo-kd", "demo-text-distill", "demo-digits-distill")


def main(arguments: list[str] | None = None, prog: str = "winnow") -> int:
    """Do one command and return the exit status. `prog` is how the command line was started."""
    options = _parser(prog).parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("engine").setLevel(logging.INFO)  # libraries log from WARNING on
    try:
        workspace = open_workspace(options.workspace, True if options.read_only else None)
        return int(options.command(workspace, options) or 0)
    except RecipeError as error:
        print(f"winnow: {error}", file=sys.stderr)
        return 2
    except WinnowError as error:
        print(f"winnow: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output, `head` for instance, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("winnow: interrupted; `python -m engine serve` resumes the run.", file=sys.stderr)
        return 1


def run(workspace: Workspace, options: argparse.Namespace) -> int:
    recipe = _recipe(options)
    if options.pick and recipe.kind != PRUNING.name:
        raise WinnowError(f"--pick recommends one of the arms of {PRUNING.label}; {recipe.kind} has none.")
    return _start_here(workspace, recipe, options.device, options.pick)


def _recipe(options: argparse.Namespace) -> Recipe:
    """The recipe with its changes; `--cluster` overrides the others."""
    address = [f"cluster.address={json.dumps(options.cluster)}"] if options.cluster else []
    return load_recipe(options.recipe, [*(options.set or []), *address])


def demo(workspace: Workspace, options: argparse.Namespace) -> int:
    """Do the runs of the demo that are missing, one after the other; the last line is the id of the last one."""
    ledger = Ledger(workspace)
    built = {name: [found for found in ledger.runs() if found.name == name] for name in DEMOS}
    if options.queue:
        for name, known in built.items():
            if not known:
                print(ledger.submit(load_recipe(name)))
        return 0
    for name, known in built.items():
        unfinished = [found for found in known if found.state != "done"]
        if unfinished:
            status = _resume_here(workspace, unfinished[0], options.device)
        elif known:
            print(f"{name} has been built; open it with `make app`.", file=sys.stderr)
            print(known[0].id)
            status = 0
        else:
            status = _start_here(workspace, load_recipe(name), options.device)
        if status:
            return status
    return 0


def submit(workspace: Workspace, options: argparse.Namespace) -> None:
    print(Ledger(workspace).submit(_recipe(options)))


def serve(workspace: Workspace, _options: argparse.Namespace) -> None:
    from engine.runtime import supervisor

    supervisor.serve(workspace)


def work(workspace: Workspace, options: argparse.Namespace) -> None:
    from engine.runtime.supervisor import end_with_parent

    end_with_parent(options.parent)
    from engine.runtime import worker  # after that: it takes seconds to import

    worker.work(workspace, options.device)


def query(workspace: Workspace, options: argparse.Namespace) -> None:
    from engine.runtime.supervisor import end_with_parent

    end_with_parent(options.parent)
    from engine.runtime.query_worker import answer_all

    answer_all(workspace)


def _status(item: Run) -> str:
    return item.error or (item.phase if item.state in ("queued", "running") else "")


def runs(workspace: Workspace, options: argparse.Namespace) -> None:
    found = Ledger(workspace).runs()
    if options.json:
        print(json.dumps([_as_json(item) for item in found], indent=2))
        return
    for item in found:
        print(f"{item.id:36} {item.kind:16} {item.state:10} {item.fraction:5.0%}  {_status(item)}")


def show(workspace: Workspace, options: argparse.Namespace) -> None:
    found = Ledger(workspace).run(options.run)
    values = _as_json(found) | {"settings": found.recipe, "provenance": found.provenance}
    if options.json:
        print(json.dumps(values, indent=2))
        return
    for key, value in values.items():
        print(f"{key}: {json.dumps(value, indent=2) if isinstance(value, dict) else value}")


def log(workspace: Workspace, options: argparse.Namespace) -> None:
    ledger = Ledger(workspace)
    path = ledger.log_path(ledger.run(options.run).id)
    print(path.read_text(encoding="utf-8") if path.is_file() else "This run has not logged anything yet.")


def cancel(workspace: Workspace, options: argparse.Namespace) -> None:
    Ledger(workspace).cancel(options.run)


def resume(workspace: Workspace, options: argparse.Namespace) -> None:
    Ledger(workspace).resume(options.run)
    print("Queued again; `python -m engine serve` works on the queue.", file=sys.stderr)


def table(workspace: Workspace, options: argparse.Namespace) -> None:
    ledger = Ledger(workspace)
    found = ledger.run(options.run)
    if options.table == VERDICT:
        from engine.analysis.pruning_results import open_results

        data = verdict_table(open_results(workspace, ledger, found))
    else:
        data = run_table(workspace, ledger.parts(found.id, options.table), options.table)
    if options.out is None:
        json.dump(json_rows(data), sys.stdout, indent=1)
        print()
    else:
        write_table(data, options.out)


def export(workspace: Workspace, options: argparse.Namespace) -> None:
    from engine.export.distilled import export_distilled
    from engine.export.samples import export_run
    from engine.storage.store import Store

    ledger = Ledger(workspace)
    found = ledger.run(options.run)
    store = Store.in_memory(workspace, found.id)
    store.sync(ledger)
    if options.distilled:
        manifest = export_distilled(workspace, ledger, store, found.id, out=options.out)
    else:
        cut = {"tau": options.tau, "fraction": options.fraction}
        manifest = export_run(workspace, ledger, store, found.id, **cut, out=options.out)
    print(json.dumps(manifest, indent=2))


def doctor(workspace: Workspace, options: argparse.Namespace) -> None:
    from engine.runtime.doctor import report

    for line in report(workspace, rebuild_store=options.rebuild):
        print(line)


def _foreground(
    workspace: Workspace, start: Callable[[Ledger], tuple[Run, Any]], device: str, pick: bool = False
) -> int:
    """Do a run in this process, with a progress bar on a terminal; its id is the last line.

    With `pick`, the line before says which of its arms is recommended.
    """
    from engine.runtime.worker import execute

    ledger = Ledger(workspace)
    found, lock = start(ledger)
    layout = "{percentage:3.0f} % |{bar:24}| {desc}"
    with tqdm(total=100, bar_format=layout, file=sys.stderr, disable=None) as bar:  # no bar without a terminal

        def report(phase: str, fraction: float, eta: float | None) -> None:
            bar.n = round(100 * fraction, 1)
            bar.set_description_str(f"{phase}, {eta:.0f} s left" if eta is not None else phase)

        with _silent_about_failures():
            state = execute(workspace, ledger, found, lock, device=device, report=report)
    ended = ledger.run(found.id)
    if ended.error:
        print(f"winnow: {ended.error}", file=sys.stderr)
    if pick and state == "done":
        from engine.analysis.pruning_results import open_results

        if picked := open_results(workspace, ledger, ended).pick:
            print(picked.sentence)
    print(found.id)
    return 0 if state == "done" else 1


@contextmanager
def _silent_about_failures() -> Iterator[None]:
    """Why the run failed is printed once it has ended, so until then only its own log says it."""

    def passes(record: logging.LogRecord) -> bool:
        return record.levelno < logging.ERROR or not record.name.startswith("engine.run.")

    terminal = list(logging.getLogger().handlers)
    for handler in terminal:
        handler.addFilter(passes)
    try:
        yield
    finally:
        for handler in terminal:
            handler.removeFilter(passes)


def _start_here(workspace: Workspace, recipe: Recipe, device: str, pick: bool = False) -> int:
    return _foreground(workspace, lambda ledger: ledger.start(recipe), device, pick)


def _resume_here(workspace: Workspace, found: Run, device: str) -> int:
    def claim(ledger: Ledger) -> tuple[Run, Any]:
        if found.state in ("failed", "cancelled"):
            ledger.resume(found.id)
        claimed = ledger.claim(found.id)
        if claimed is None:
            raise WinnowError(f"Run {found.id} is being done by another process; follow it with `runs`.")
        return claimed

    return _foreground(workspace, claim, device)


def _as_json(found: Run) -> dict[str, Any]:
    return {
        "id": found.id,
        "kind": found.kind,
        "state": found.state,
        "recipe": found.name,
        "progress": round(found.fraction, 4),
        "phase": found.phase,
        "eta_seconds": found.eta,
        "error": found.error,
        "created": found.created,
        "started": found.started,
        "finished": found.finished,
    }


def _parser(prog: str) -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--workspace", metavar="DIR", help="default: $WINNOW_WORKSPACE, else cache/ of the checkout")
    common.add_argument("--read-only", action="store_true", help="refuse to change anything")
    parser = argparse.ArgumentParser(prog=prog, description="Which training samples matter?")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[..., object], about: str | None) -> argparse.ArgumentParser:
        # A command without a description is for the engine itself and is not listed.
        sub = (
            commands.add_parser(name, parents=[common], help=about, description=about)
            if about
            else commands.add_parser(name, parents=[common])
        )
        sub.set_defaults(command=command)
        return sub

    def with_run(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
        sub.add_argument("run", metavar="RUN", help="a run's id, or the beginning of it")
        return sub

    def with_recipe(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
        sub.add_argument("recipe", metavar="RECIPE", help=f"a TOML file, or one of: {', '.join(ready_made())}")
        sub.add_argument("--set", action="append", metavar="KEY=VALUE", help="for example data.limit=2000")
        sub.add_argument("--cluster", metavar="auto|ADDRESS", help="do it on a Ray cluster; none: in this process")
        return sub

    def with_device(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
        sub.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
        return sub

    run_parser = with_device(with_recipe(add("run", run, "do a run now, in the foreground, with progress")))
    run_parser.add_argument(
        "--pick", action="store_true", help="say which arm to use: picked on half of the validation samples"
    )
    with_recipe(add("submit", submit, "queue a run and print its id"))
    add("serve", serve, "work on the queue until stopped")
    demo_parser = with_device(add("demo", demo, "build the embedded demo"))
    demo_parser.add_argument("--queue", action="store_true", help="only queue it, if the workspace has none yet")
    add("runs", runs, "list the runs, newest first").add_argument("--json", action="store_true")
    with_run(add("show", show, "one run with its recipe and provenance")).add_argument("--json", action="store_true")
    with_run(add("log", log, "the log of a run"))
    with_run(add("cancel", cancel, "stop a run; finished parts are kept"))
    with_run(add("resume", resume, "queue a failed or cancelled run again"))
    table_parser = with_run(add("table", table, "the rows of a table of a run"))
    table_parser.add_argument(
        "table", metavar="TABLE", type=former.current, choices=[*SCHEMAS, VERDICT], help=", ".join([*SCHEMAS, VERDICT])
    )
    table_parser.add_argument("--out", type=Path, metavar="FILE", help="a .parquet, .csv or .json file")
    export_parser = with_run(add("export", export, "the kept samples, or a distilled set, and a manifest"))
    cut = export_parser.add_mutually_exclusive_group(required=True)
    cut.add_argument("--tau", type=float, help="keep what scores above this")
    cut.add_argument("--fraction", type=float, help="keep this fraction of the samples, the highest scores first")
    cut.add_argument("--distilled", action="store_true", help="the first distilled set")
    export_parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    add("doctor", doctor, "check environment, devices and workspace").add_argument(
        "--rebuild", action="store_true", help="rebuild the store from the parts"
    )
    for sub in (with_device(add("work", work, None)), add("query", query, None)):
        sub.add_argument("--parent", type=int, required=True, metavar="PID", help="the engine to end with")
    return parser
