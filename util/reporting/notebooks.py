"""Runs the notebooks, each of which regenerates its figure or reuses the records that are there."""

import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tqdm import tqdm

from .. import cli, records
from ..errors import UserError
from ..files import replacing
from . import comparisons
from .report import find_records
from .steps import FOLDERS, STEPS

AT_A_TIME = 2
SECONDS_PER_CELL = 3600


def execute_all(
    outputs: Path,
    root: Path = records.REPOSITORY,
    preset: str | None = None,
    device: str | None = None,
    coco: Path | None = None,
    folders: Sequence[str] = FOLDERS,
) -> list[Path]:
    """Runs notebooks, two at a time, and writes each to its folder under ``outputs``.

    Records that are there are taken as they are. ``preset``, ``device`` and ``coco`` are as in ``execute``.
    """
    due = [(path, Path(outputs) / path.parent.name / path.name) for path in _notebooks(root, folders)]
    return _in_pairs(due, outputs, preset=preset, device=device, coco=coco)


def execute_there(outputs: Path, root: Path = records.REPOSITORY) -> list[Path]:
    """Runs each notebook whose records lie somewhere in a folder, one of your own data where they are of such.

    Presets and your own embeddings are those of the record. Results are as of ``execute_all``.
    """
    found = {record.name: record for _, record in reversed(find_records(outputs))}
    done = []
    for folder in FOLDERS:
        there = [found[step.name] for step in STEPS if step.folder == folder and step.name in found]
        lacking = [step.name for step in STEPS if step.folder == folder and step.name not in found]
        if not there or (lacking and not any(map(comparisons.is_own, there))):
            cli.say(f"[notebooks] none of {folder}: no record here of {', '.join(lacking)}")
            continue
        settings = there[0].about["settings"]
        own = settings.get("embeddings") or ()
        paths = [own] if isinstance(own, str) else list(own)
        due = [(path, Path(outputs) / folder / path.name) for path in _notebooks(root, [folder])]
        done += _in_pairs(due, outputs, preset=settings["preset"], embeddings=paths[0] if len(paths) == 1 else None)
    if not done:
        raise UserError(f"{outputs}: no records of a figure or table; run make figures, or a script, first")
    return done


def refresh_committed(outputs: Path, root: Path = records.REPOSITORY) -> list[Path]:
    """Runs every notebook in place on the records under ``outputs``, so that it can be read without running it."""
    return _in_pairs([(path, path) for path in _notebooks(root)], outputs)


def execute(
    notebook: Path,
    output: Path,
    preset: str | None = None,
    device: str | None = None,
    embeddings: Path | str | None = None,
    environment: Mapping[str, str] | None = None,
    coco: Path | None = None,
) -> Path:
    """Runs a notebook top to bottom in its own folder and writes it, with its pictures, to ``output``.

    Args:
        preset, device, embeddings: values for the lines ``PRESET =``, ``DEVICE =`` and ``EMBEDDINGS =`` of the first
            code cell; None leaves a line as it is.
        environment: further variables of the kernel, for instance ``MODALITY_GAP_OUTPUTS``.
        coco: a local MSCOCO folder, for the line ``COCO =`` where the notebook has one.
    """
    notebook = Path(notebook)
    content = nbformat.read(notebook, as_version=4)
    paths = {"EMBEDDINGS": embeddings, "COCO": coco}
    given = {"PRESET": preset, "DEVICE": device}
    given |= {name: str(Path(path).resolve()) for name, path in paths.items() if path}
    _set(content, {name: value for name, value in given.items() if value}, notebook)
    about = {"resources": {"metadata": {"path": notebook.parent}}, "extra_arguments": ["--IPKernelApp.log_level=ERROR"]}
    client = NotebookClient(content, timeout=SECONDS_PER_CELL, kernel_name="python3", **about)
    variables = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    path = os.pathsep.join([str(records.REPOSITORY), *filter(None, [variables.get("PYTHONPATH")])])
    variables |= {"PYTHONPATH": path, records.NOTEBOOK_VARIABLE: str(notebook.resolve()), **(environment or {})}
    try:
        client.execute(env=variables)
    except CellExecutionError as error:
        raise UserError(f"{notebook}: a cell failed: {error.ename}: {error.evalue}") from error
    except (CellTimeoutError, DeadKernelError, RuntimeError, AssertionError) as error:
        reason = (str(error) or "its kernel did not start").splitlines()[0]
        raise UserError(f"{notebook}: did not finish ({reason}); run it again") from error
    for cell in content.cells:
        cell.metadata.pop("execution", None)
    with replacing(output) as part:
        nbformat.write(content, part)
    return Path(output)


def _set(content: nbformat.NotebookNode, values: Mapping[str, str], notebook: Path) -> None:
    """Gives names of the first code cell other values."""
    cell = next(cell for cell in content.cells if cell.cell_type == "code")
    for name, value in values.items():
        line = re.compile(rf"^{name} =.*$", re.MULTILINE)
        if line.search(cell.source):
            cell.source = line.sub(lambda _, told=f"{name} = {value!r}": told, cell.source, count=1)
        elif name != "COCO":  # most notebooks read photographs through records only
            raise UserError(f"{notebook}: its first code cell has no line that begins with {name} =")


def _in_pairs(due: Sequence[tuple[Path, Path]], outputs: Path, **values) -> list[Path]:
    """Runs (notebook, output) two at a time on the records under ``outputs``, each with its share of the cores."""
    threads = str(max(1, (os.cpu_count() or 1) // AT_A_TIME))
    variables = {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
    variables |= {cli.OUTPUTS_VARIABLE: str(Path(outputs).resolve()), records.REUSE_VARIABLE: records.AS_THEY_ARE}
    done, failed = [], []
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        work = [pool.submit(execute, notebook, output, **values, environment=variables) for notebook, output in due]
        for each in tqdm(work, desc="notebooks", unit="notebook", disable=None):
            try:
                done.append(each.result())
            except UserError as error:
                failed.append(str(error))
    if failed:
        raise UserError("; ".join(failed))
    return done


def _notebooks(root: Path, folders: Sequence[str] = FOLDERS) -> list[Path]:
    return [path for folder in folders for path in sorted((Path(root) / folder).glob("*.ipynb"))]
