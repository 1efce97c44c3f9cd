"""Runs the steps one after the other; a run that was stopped goes on where it was.

A script publishes its record whole or not at all, and the next run keeps the records that are there (``paper_steps``
says which). Only one run at a time works in a folder. Its scripts hold the lock too, also when their run was killed.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from filelock import FileLock, Timeout

from .. import cli, records
from ..errors import UserError
from ..files import replacing
from . import comparisons, report
from . import paper_steps as plan

LOG, LOCK, SUMMARY = "paper.log", "paper.lock", "summary.csv"
"""In the output folder: what the scripts said; held while a run works there; every published number."""
SECONDS_BETWEEN_BARS = "30"
"""How often a progress bar adds a line to the log."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``modality-gap paper``; see ``util.commands.Paper``."""

    output: Path
    device: cli.Device = "auto"
    coco: Path | None = None
    only: Sequence[str] = ()
    extra: Sequence[str] = ()
    again: bool = False
    left_out: bool = False
    steps: Sequence[plan.Step] = plan.STEPS


@dataclass(frozen=True)
class Outcome:
    """End of a step: kept (its record was there), made, or failed."""

    step: plan.Step
    end: Literal["kept", "made", "failed"]
    reason: str = ""


def run(options: Options) -> Path:
    """Runs what is due, then writes the notebooks, the summary and the report of all that is there.

    Returns:
        the report's path.
    """
    output = Path(options.output)
    ready = prepare(options)
    with locked(output) as lock, (output / LOG).open("a", encoding="utf-8") as log:
        outcomes = [perform(each, options, log, lock) for each in ready]
        problems = finish(output, outcomes, options.steps)
    failed = [f"{each.step.name} ({each.reason})" for each in outcomes if each.end == "failed"]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(outcomes)} steps failed: {'; '.join(failed + problems)}; {output / LOG} has all "
            "that they said, and the same command goes on from here"
        )
    if problems:
        raise UserError("; ".join(problems))
    return output / "report.html"


def prepare(options: Options) -> list[plan.Ready]:
    """Every step that is asked for, its command line read."""
    extra = words_of(options.extra, [step.name for step in options.steps])
    chosen = plan.choose(options.only, options.steps)
    return [plan.read(step, options.output, options.device, options.coco, extra.get(step.name, ())) for step in chosen]


def words_of(extra: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Step -> further words of its command line, from lines such as "denigration --data DIR"."""
    found: dict[str, list[str]] = {}
    for line in extra:
        name, *words = shlex.split(line) or [""]
        if name not in names:
            raise UserError(f"--extra {line!r}: does not start with the name of a step; they are {', '.join(names)}")
        found.setdefault(name, []).extend(words)
    return found


def perform(ready: plan.Ready, options: Options, log: IO[str], lock: int) -> Outcome:
    """Keeps a step's record or makes it anew."""
    step, start = ready.step, time.perf_counter()
    due = "asked for again" if options.again else plan.reason_to_run(ready, options.output)
    kept = None if due else records.load(options.output / step.folder, step.name)
    if kept and options.left_out and kept.about["left_out"]:
        due = f"its record left out: {'; '.join(kept.about['left_out'])}"
    if not due:
        _say(f"[paper] {step.shown}: kept, its record is there{_about(kept)}", log)
        return Outcome(step, "kept")
    _say(f"[paper] {step.shown}: {due}; running it", log)
    last, code = _call(ready, log, lock)
    reason = last if code else plan.reason_to_run(ready, options.output)
    seconds = time.perf_counter() - start
    if code or reason:
        reason = reason or f"exit code {code}"
        _say(f"[paper] {step.shown}: FAILED after {seconds:.0f} s: {reason}", log)
        return Outcome(step, "failed", reason)
    _say(f"[paper] {step.shown}: made in {seconds:.0f} s", log)
    return Outcome(step, "made")


def _about(kept: records.Record) -> str:
    """Other code and panels left out, of a record that is kept."""
    told = ["made by other code"] if kept.about.get("code") != records.code(kept.name) else []
    if lines := kept.about["left_out"]:
        told.append(f"left out in it: {'; '.join(lines)}; --left-out tries again")
    return f" ({'; '.join(told)})" if told else ""


def _call(ready: plan.Ready, log: IO[str], lock: int) -> tuple[str, int]:
    """Runs a script, its output shown and kept; returns its last line and its exit code."""
    words = [sys.executable, str(ready.step.script), *ready.arguments]
    environment = {"TQDM_MININTERVAL": SECONDS_BETWEEN_BARS, **os.environ, "PYTHONUNBUFFERED": "1"}
    last = ""
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment,
        pass_fds=(lock,),
    ) as process:  # fmt: skip
        try:
            for line in process.stdout:
                _say(line.rstrip("\n"), log)
                last = line.strip() or last
        except KeyboardInterrupt:  # the lock is given back only when the script has ended
            process.terminate()
            process.wait()
            raise
    return last.removeprefix("error: ")[:300], process.returncode


@contextmanager
def locked(output: Path) -> Iterator[int]:
    """Holds the folder for one run; gives the open lock file for the scripts that it starts."""
    lock = FileLock(output / LOCK, timeout=0)
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise UserError(
            f"{output}: a run of the paper, or a script that it started, is at work there; wait for it"
        ) from error
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); choose another --output") from error
    with lock:
        yield lock._context.lock_file_fd


def finish(output: Path, outcomes: Sequence[Outcome], steps: Sequence[plan.Step]) -> list[str]:
    """Notebooks of what was made, summary and report of all that is there; returns what went wrong with them."""
    problems = []
    for folder in dict.fromkeys(each.step.folder for each in outcomes if each.end == "made"):
        lacking = [s.name for s in steps if s.folder == folder and not (output / folder / f"{s.name}.json").is_file()]
        if lacking:
            cli.say(f"[paper] {folder}: no notebook, which reads {', '.join(lacking)} too")
        else:
            problems += _notebooks(steps[0].root / folder, output)
    failed = {each.step.name: each.reason for each in outcomes if each.end == "failed"}
    damaged: dict[str, str] = {}
    found = report.find_records(output, damaged=damaged)
    table = comparisons.collect(found, {**damaged, **failed})
    with replacing(output / SUMMARY) as part:
        table.to_csv(part, index=False, float_format="%.9g")
    for row in comparisons.overview(table).to_dict("records"):
        told = [f"{row[verdict]} {verdict}" for verdict in comparisons.VERDICTS if row[verdict]]
        cli.say(f"[paper] {row['figure']}: {', '.join(told)}")
    cli.say(f"[paper] wrote {output / SUMMARY}")
    if found:
        cli.say(f"[paper] wrote {report.write(output, damaged)}")
    return problems + [f"{told}; it was left out of summary and report" for told in damaged.values()]


def _notebooks(folder: Path, output: Path) -> list[str]:
    """Executes the notebooks of a folder on the records under ``output``; returns what went wrong."""
    from . import notebooks

    problems, known = [], notebooks.records_of(output)
    for path in sorted(folder.glob("*.ipynb")):
        try:
            done = notebooks.execute(path, output / folder.name / path.name, preset="paper", environment=known)
            cli.say(f"[paper] wrote {done}")
        except UserError as error:
            problems.append(str(error))
    return problems


def _say(line: str, log: IO[str]) -> None:
    cli.say(line)
    log.write(f"{line}\n")
    log.flush()
