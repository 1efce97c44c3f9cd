"""Executes the notebooks, which only read records and draw from them."""

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tqdm import tqdm

from .. import records
from ..errors import UserError
from ..files import replacing
from .report import FOLDERS

RECORDS_VARIABLE = "MODALITY_GAP_RECORDS"
"""Folder that the notebooks read records from; by default the committed ``results/`` beside each."""

SECONDS_PER_CELL = 120


def execute_all(outputs: Path, root: Path = records.REPOSITORY) -> list[Path]:
    """Executes every notebook whose folder has records under ``outputs``, into that folder.

    Raises:
        UserError: a cell fails; names the notebook and the error.
    """
    due = [path for path in _notebooks(root) if any((Path(outputs) / path.parent.name).glob("*.json"))]
    return [
        execute(path, Path(outputs) / path.parent.name, Path(outputs) / path.parent.name / path.name)
        for path in tqdm(due, desc="notebooks", unit="notebook")
    ]


def refresh_committed(root: Path = records.REPOSITORY) -> list[Path]:
    """Executes every notebook in place on the committed records beside it, so that it can be read without running it.

    Raises:
        UserError: a cell fails; names the notebook and the error.
    """
    due = [path for path in _notebooks(root) if any((path.parent / "results").glob("*.json"))]
    return [execute(path, path.parent / "results", path) for path in tqdm(due, desc="notebooks", unit="notebook")]


def _notebooks(root: Path) -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((Path(root) / folder).glob("*.ipynb"))]


def execute(notebook: Path, folder: Path, output: Path) -> Path:
    """Runs a notebook top to bottom on the records in ``folder`` and writes it, with its pictures, to ``output``.

    Raises:
        UserError: a cell fails; names the notebook and the error.
    """
    content = nbformat.read(notebook, as_version=4)
    environment = {**os.environ, RECORDS_VARIABLE: str(Path(folder).resolve())}
    environment.pop("MPLBACKEND", None)
    client = NotebookClient(
        content,
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": notebook.parent}},
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        raise UserError(f"{notebook}: a cell failed: {error.ename}: {error.evalue}") from error
    except (CellTimeoutError, DeadKernelError) as error:
        raise UserError(f"{notebook}: did not finish ({str(error).splitlines()[0]})") from error
    for cell in content.cells:
        cell.metadata.pop("execution", None)
    with replacing(output) as part:
        nbformat.write(content, part)
    return output
