"""Runs the notebooks, each of which regenerates its figure or reuses the records that are there."""

import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tqdm import tqdm

from .. import cli, records
from ..errors import UserError
from ..files import place, replacing
from . import comparisons
from .report import find_records
from .steps import FOLDERS, STEPS, Step

AT_A_TIME = 2
SECONDS_PER_CELL = 3600
FILES = ("EMBEDDINGS", "COCO", "LABELS", "PROMPTS", "CORPUS", "AUDIT")


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
    if not (jobs := of_records(find_records(outputs), outputs)):
        raise UserError(f"{outputs}: no records of a figure or table; run make figures, or a script, first")
    return execute_all(jobs, outputs)


def refresh_committed(outputs: Path) -> list[Path]:
    """Runs every notebook in place on the records under ``outputs``, so that it can be read without running it."""
    paths = [path for folder in FOLDERS for path in (records.REPOSITORY / folder).glob("*.ipynb")]
    return execute_all([Job(path, path) for path in paths], outputs)


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
    notebook = Path(job.notebook)
    content = nbformat.read(notebook, as_version=4)
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
        reason = (str(error) or "its kernel did not start").splitlines()[0]
        raise UserError(f"{notebook}: did not finish ({reason}); run it again") from error
    with replacing(job.output) as part:
        nbformat.write(content, part)
    return Path(job.output)
