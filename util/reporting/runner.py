"""``make figures`` and ``make paper``: the scripts in the paper's order, then notebooks, summary and report.

A whole record of the same settings is kept, so a run that was stopped goes on. One run at a time works in a folder.
"""

import json
import os
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import nbformat
from filelock import FileLock, Timeout
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tqdm import tqdm

from .. import UserError, cli, published, reason, records
from ..files import place, replacing
from . import comparisons
from .steps import FOLDERS, STEPS, Figures, Step, in_words, look, read

NOTEBOOK_SECONDS = 60
AT_A_TIME = 2
SECONDS_PER_CELL = 3600
FILES = ("EMBEDDINGS", "COCO", "LABELS", "PROMPTS", "CORPUS", "AUDIT")


def run(options: Figures) -> None:
    """Keeps or makes every record, then writes notebooks, summary and report; refuses, at the end, all that failed."""
    output, chosen, failed = Path(options.output), options.chosen(), {}
    _keep_other_presets(options)
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock = FileLock(output / "run.lock", timeout=0).acquire()  # the system frees it when the process ends
    except Timeout as error:
        raise UserError(f"{output}: another run is at work there; wait for it") from error
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); choose another --output") from error
    with lock:
        published.fetch_all()
        for at, step in enumerate(chosen):
            line = f"[{at + 1}/{len(chosen)}] {step.title}"
            if options.preset == "embedded":
                left = sum(each.seconds for each in chosen[at:]) + NOTEBOOK_SECONDS
                line += f", about {in_words(step.seconds)}, {in_words(left)} left"
            cli.say(line)
            try:
                perform(step, options)
            except (Exception, SystemExit) as error:  # a script may be broken in any way; the others go on
                if not isinstance(error, UserError):
                    cli.say(traceback.format_exc())
                failed[step.name] = reason(error, most=300)
                cli.say(f"[{step.name}] FAILED: {failed[step.name]}")
        problems = [*_notebooks(options), *_summary(output, failed)]
    if failed:
        told = "; ".join(f"{name} ({why})" for name, why in failed.items())
        problems.insert(0, f"{len(failed)} of {len(chosen)} steps failed: {told}")
    if problems:
        raise UserError("; ".join([*problems, "the same command goes on from here"]))


def _keep_other_presets(options: Figures) -> None:
    """Refuses a folder where a step would write over a record of another preset."""
    for step in options.chosen():
        path = Path(options.output) / step.folder / f"{step.name}.json"
        try:
            there = json.loads(path.read_text())["settings"]["preset"]
        except (OSError, ValueError, LookupError, TypeError):
            continue  # none, or a damaged one, which is made again
        if there != options.preset:
            other = Path(options.output) / options.preset
            raise UserError(f"{path} is of the {there} preset, and would be lost; give another --output, as {other}")


def perform(step: Step, options: Figures) -> None:
    """Keeps the record of a step, or runs its script in this process."""
    module, arguments, settings = read(step, options)
    kept, why = look(step, settings, options)
    if kept:
        told = ["made by other code"] if kept.about.get("code") != records.code(step.name) else []
        if left_out := kept.about["left_out"]:
            told.append(f"left out in it: {'; '.join(left_out)}; --only {step.name} --again tries again")
        cli.say("; ".join([f"[{step.name}] kept: its record is there", *told]))
        return
    cli.say(f"[{step.name}] {why}; running it")
    before = sys.argv
    try:
        sys.argv = [str(step.script), *arguments]  # the command line that the record holds
        module.run(settings)
    finally:
        sys.argv = before


class Job(NamedTuple):
    """A notebook, where it is written with its pictures, and values for lines of its first code cell, as PRESET."""

    notebook: Path
    output: Path
    values: Mapping[str, Path | str | list[str]] = {}


def of_records(there: Sequence[tuple[str, records.Record]], outputs: Path, steps: Sequence[Step] = STEPS) -> list[Job]:
    """The notebooks of records (folder, record), to be written to ``outputs``, with the settings of those records.

    One whose folder lacks a record is left out, and said, unless it is of your own data.
    """
    found, jobs = {record.name: record for _, record in reversed(there)}, []
    for folder in dict.fromkeys(step.folder for step in steps):
        names = [step.name for step in steps if step.folder == folder]
        there = [found[name] for name in names if name in found]
        if not there or (len(there) < len(names) and not any(map(comparisons.is_own, there))):
            lacking = ", ".join(name for name in names if name not in found)
            cli.say(f"[notebooks] none of {folder}: no record here of {lacking}")
            continue
        settings = {key: value for each in reversed(there) for key, value in each.about["settings"].items() if value}
        files = {name: cli.as_paths(settings.get(name.lower())) for name in FILES}
        values = {name: settings[name.lower()] for name in ("PRESET", "DEVICE")}
        values |= {name: place(each[0]) if len(each) == 1 else [*each] for name, each in files.items() if each}
        for path in sorted((steps[0].root / folder).glob("*.ipynb")):
            jobs.append(Job(path, Path(outputs) / folder / path.name, values))
    return jobs


def execute_there(outputs: Path) -> list[Path]:
    """Runs each notebook whose records lie somewhere in a folder, one of your own data where they are of such."""
    if not (jobs := of_records(comparisons.find_records(outputs), outputs)):
        raise UserError(f"{outputs}: no records of a figure or table; run make figures, or a script, first")
    return execute_all(jobs, outputs)


def execute_all(jobs: Sequence[Job], outputs: Path) -> list[Path]:
    """Runs notebooks, two at a time, on the records under ``outputs``, which are taken as they are."""
    threads = str(max(1, (os.cpu_count() or 1) // AT_A_TIME))
    variables = {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
    variables |= {cli.OUTPUTS_VARIABLE: str(Path(outputs).resolve()), records.REUSE_VARIABLE: records.AS_THEY_ARE}
    done, failed = [], []
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        work = [pool.submit(execute, job, variables) for job in jobs]
        for each in tqdm(work, desc="notebooks", unit="notebook", disable=None):
            try:
                done.append(each.result())
            except UserError as error:
                failed.append(str(error))
    if failed:
        raise UserError("; ".join(failed))
    return done


def execute(job: Job, environment: Mapping[str, str]) -> Path:
    """Runs a notebook top to bottom in its own folder, with further variables of the kernel; returns its output."""
    notebook, content = job.notebook, nbformat.read(job.notebook, as_version=4)
    cell = next(cell for cell in content.cells if cell.cell_type == "code")
    for name, value in job.values.items():
        line, told = re.compile(rf"^{name} =.*$", re.MULTILINE), value if isinstance(value, list) else str(value)
        if line.search(cell.source):
            cell.source = line.sub(lambda _, name=name, told=told: f"{name} = {told!r}", cell.source, count=1)
        elif name not in FILES[1:]:  # of some notebooks alone
            raise UserError(f"{notebook}: its first code cell has no line that begins with {name} =")
    variables = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    path = os.pathsep.join([str(records.REPOSITORY), *filter(None, [variables.get("PYTHONPATH")])])
    variables |= {"PYTHONPATH": path, records.NOTEBOOK_VARIABLE: str(notebook.resolve()), **environment}
    about = {"resources": {"metadata": {"path": notebook.parent}}, "extra_arguments": ["--IPKernelApp.log_level=ERROR"]}
    client = NotebookClient(content, timeout=SECONDS_PER_CELL, kernel_name="python3", record_timing=False, **about)
    try:
        client.execute(env=variables)
    except CellExecutionError as error:
        raise UserError(f"{notebook}: a cell failed: {error.ename}: {error.evalue}") from error
    except (CellTimeoutError, DeadKernelError, RuntimeError, AssertionError) as error:
        why = (str(error) or "its kernel did not start").splitlines()[0]
        raise UserError(f"{notebook}: did not finish ({why}); run it again") from error
    with replacing(job.output) as part:
        nbformat.write(content, part)
    return job.output


def _notebooks(options: Figures) -> list[str]:
    """Executes notebooks that are not there, or older than a record that they read; returns what went wrong."""
    folders = {step.folder for step in options.chosen()}
    steps = [step for step in options.steps if step.folder in folders]
    there = comparisons.find_records(options.output, FOLDERS, damaged={})
    jobs = []
    for job in of_records(there, options.output, steps):
        made = [path.stat().st_mtime for path in job.output.parent.glob("*.json")]
        if not job.output.is_file() or job.output.stat().st_mtime < max(made):
            jobs.append(job)
    if jobs:
        cli.say(f"[notebooks] executing {len(jobs)}, about {in_words(NOTEBOOK_SECONDS)}")
    try:
        execute_all(jobs, options.output)
    except UserError as error:
        return [str(error)]
    return []


def _summary(output: Path, failed: Mapping[str, str]) -> list[str]:
    """Writes summary and report of all records that are whole; returns a line for each that is not."""
    damaged: dict[str, str] = {}
    found = comparisons.find_records(output, damaged=damaged)
    table = comparisons.collect(found, {**damaged, **failed})
    with replacing(output / "summary.csv") as part:
        table.to_csv(part, index=False, float_format="%.9g")
    for row in comparisons.overview(table).to_dict("records"):
        told = [f"{row[verdict]} {verdict}" for verdict in comparisons.COUNTED if row[verdict]]
        cli.say(f"[summary] {row['figure']}: {', '.join(told)}")
    if found:
        cli.say(f"[report] open {comparisons.write_report(output, damaged)}")
    return [f"{told}; it was left out of summary and report" for told in damaged.values()]
