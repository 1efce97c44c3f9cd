"""The wheel: the folder ``util`` under the name ``modality_gap``, whatever else is called util where it is used."""

import os
import shutil
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest

from scripts import REPOSITORY, python

SOURCES = [path for path in (REPOSITORY / "util").rglob("*.py") if "__pycache__" not in path.parts]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """An unpacked wheel, built without a network from a copy of the sources."""
    copy, site = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("site")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copy)
    shutil.copytree(REPOSITORY / "util", copy / "util", ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    with zipfile.ZipFile(copy / python("-c", build, cwd=copy).splitlines()[-1]) as wheel:
        wheel.extractall(site)
    return site


def run(installed: Path, folder: Path, *words: str) -> str:
    """Python in a folder with the wheel and the locked packages, without the repository that a .pth file adds."""
    (folder / "util.py").write_text("raise RuntimeError('the util of the user')\n")
    path = os.pathsep.join([str(installed), sysconfig.get_path("purelib")])
    return python("-S", *words, cwd=folder, PYTHONPATH=path)


def test_the_wheel_holds_every_module_and_file(installed):
    expected = {path.relative_to(REPOSITORY / "util") for path in SOURCES}
    expected |= {path.relative_to(REPOSITORY / "util") for path in (REPOSITORY / "util" / "data").iterdir()}
    package = installed / "modality_gap"
    assert {path.relative_to(package) for path in package.rglob("*") if path.is_file()} >= expected


def test_it_measures_and_imports_beside_a_util_of_the_users_own(installed, tmp_path, rng):
    x = rng.normal(size=(30, 8)) + 0.5
    np.savez(tmp_path / "x.npz", image=x, text=x - 0.7)
    assert "gap distance" in run(installed, tmp_path, "-m", "modality_gap", "measure", "x.npz")
    code = "import modality_gap as m; m.contrastive.sweep, m.interventions.KINDS; print(m.measures.__file__)"
    assert Path(run(installed, tmp_path, "-c", code).strip()) == installed / "modality_gap" / "measures.py"
