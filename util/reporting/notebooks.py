"""Runs the notebooks, each of which regenerates its figure or reuses the records that are there."""

import os
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
from .report import FOLDERS, find_records

AT_A_TIME = 2
SECONDS_PER_CELL = 3600


def execute_all(outputs: Path, root: Path = records.REPOSITORY, preset: str | None = None) -> list[Path]:
    """Runs every notebook, two at a time, and writes each to its folder under ``outputs``.

    Records that are there are taken as they are.
    """
    due = [(path, Path(outputs) / path.parent.name / path.name) for path in _notebooks(root)]
    return _in_pairs(due, records_of(outputs), preset or _preset(outputs))


def _preset(outputs: Path) -> str | None:
    """Preset of the records under ``outputs``; None where there are none.

    Raises:
        UserError: they are of several.
    """
    found = {record.about["settings"]["preset"] for _, record in find_records(outputs)}
    if len(found) > 1:
        raise UserError(
            f"{outputs}: records of several presets ({', '.join(sorted(found))}); keep each in its own folder"
        )
    return found.pop() if found else None


def records_of(outputs: Path) -> dict[str, str]:
    """Variables of a kernel that takes the records under ``outputs`` as they are."""
    return {cli.OUTPUTS_VARIABLE: str(Path(outputs).resolve()), records.REUSE_VARIABLE: records.AS_THEY_ARE}


def refresh_committed(outputs: Path, root: Path = records.REPOSITORY) -> list[Path]:
    """Runs every notebook in place on the records under ``outputs``, so that it can be read without running it."""
    return _in_pairs([(path, path) for path in _notebooks(root)], records_of(outputs))


def execute(
    notebook: Path,
    output: Path,
    preset: str | None = None,
    device: str | None = None,
    embeddings: Path | str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """Runs a notebook top to bottom in its own folder and writes it, with its pictures, to ``output``.

    Args:
        preset, device, embeddings: values for the lines ``PRESET =``, ``DEVICE =`` and ``EMBEDDINGS =`` of the first
            code cell; None leaves a line as it is.
        environment: further variables of the kernel, for instance ``MODALITY_GAP_OUTPUTS``.
    """
    notebook = Path(notebook)
    content = nbformat.read(notebook, as_version=4)
    given = {"PRESET": preset, "DEVICE": device, "EMBEDDINGS": embeddings and str(Path(embeddings).resolve())}
    _set(content, {name: value for name, value in given.items() if value is not None}, notebook)
    client = NotebookClient(
        content,
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": notebook.parent}},
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    try:
        client.execute(env={**_environment(), **(environment or {})})
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
    lines = cell.source.split("\n")
    for name, value in values.items():
        places = [place for place, line in enumerate(lines) if line.startswith(f"{name} =")]
        if not places:
            raise UserError(f"{notebook}: its first code cell has no line that begins with {name} =")
        lines[places[0]] = f"{name} = {value!r}"
    cell.source = "\n".join(lines)


def _environment() -> dict[str, str]:
    """Variables of this process, without its matplotlib backend, with this checkout first on the path."""
    variables = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    path = [str(records.REPOSITORY), *filter(None, [variables.get("PYTHONPATH")])]
    return {**variables, "PYTHONPATH": os.pathsep.join(path)}


def _in_pairs(
    due: Sequence[tuple[Path, Path]], environment: Mapping[str, str], preset: str | None = None
) -> list[Path]:
    """Runs (notebook, output) two at a time; each kernel takes its share of the cores."""
    threads = str(max(1, (os.cpu_count() or 1) // AT_A_TIME))
    variables = {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads, **environment}
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        work = [pool.submit(execute, notebook, output, preset, environment=variables) for notebook, output in due]
        return [each.result() for each in tqdm(work, desc="notebooks", unit="notebook", disable=None)]


def _notebooks(root: Path) -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((Path(root) / folder).glob("*.ipynb"))]
