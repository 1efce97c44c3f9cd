"""The package: the wheel beside any other util, what is imported and when, and files that a killed process leaves."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import reference
from scripts import REPOSITORY, python
from util import Embeddings, files, interventions
from util.files import cache_folder, cached_path

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
    assert Path(run(installed, tmp_path, "-c", code).strip()) == installed / "modality_gap" / "measures" / "__init__.py"


HEAVY = ("torch", "sklearn", "pandas", "numba", "matplotlib", "requests", "IPython")


def test_every_call_of_the_readme_and_the_contract_is_there_after_import_util():
    rows = re.findall(r"^\|.*\|$", (REPOSITORY / "README.md").read_text(), re.M)
    names = [name for row in rows for name in re.findall(r"`(util(?:\.\w+)+)(?![\w/]*\.py)", row)]
    assert len(names) >= 8 and "util.geometry.gap_vector" in names
    names += ["util.Embeddings.load", "util.UserError", "util.measure"]
    names += [f"util.contrastive.{name}" for name in ("sweep", "contrastive_loss")]
    names += [f"util.interventions.{name}" for name in ("fit", "save", "load")]
    names += [f"util.zero_shot.{name}" for name in ("shifted.classify", "selection.on_test")]
    names += ["util.encoders.named", "util.measures.compare", "util.training.train"]
    found = "import sys, util\nfrom operator import attrgetter\nfor name in sys.argv[1:]: attrgetter(name)(util)"
    python("-c", found, *(name.removeprefix("util.") for name in reversed(names)))


def test_an_unknown_name_is_an_attribute_error():
    import util

    with pytest.raises(AttributeError, match="'util' has no attribute 'nowhere'"):
        util.nowhere  # noqa: B018
    assert not hasattr(util.zero_shot, "nowhere") and "Embeddings" in dir(util)


@pytest.fixture
def mine(tmp_path, rng):
    x = rng.normal(size=(30, 8)) + 0.5
    np.savez(tmp_path / "x.npz", image=x, text=x - 0.7)
    return str(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "code",
    [
        "import util",
        "import util; util.measure(sys.argv[1], only=['gap_distance', 'mean_cosine', 'cka'], intervals=False)",
        "from util import commands; commands.main(['shift', sys.argv[1], '--amount', '1', '-o', sys.argv[1] + '.npz'])",
    ],
)
def test_what_needs_no_heavy_package_imports_none(code, mine):
    listed = f"import sys\n{code}\nprint(sorted(set({HEAVY}) & set(sys.modules)))"
    assert python("-c", listed, mine).splitlines()[-1] == "[]"


def test_a_reader_that_stops_early_ends_the_command_without_a_traceback(mine):
    copies = [shutil.copy(mine, f"{mine}{k}.npz") for k in range(40)]
    words = [sys.executable, "-m", "util", "measure", *copies]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 141 and {line[:6] for line in process.stderr.read().splitlines()} <= {"note: "}


def test_a_cached_path_depends_on_every_setting_and_on_the_kind_but_not_on_the_order_of_keys():
    path = cached_path("embeddings", {"seed": 1, "model": {"name": "a", "layers": (1, 2)}}, ".npy")
    assert path == cached_path("embeddings", {"model": {"layers": [1, 2], "name": "a"}, "seed": 1}, ".npy")
    assert path.parent == cache_folder() / "embeddings"
    assert len({cached_path(kind, {"seed": seed}) for kind in ("embeddings", "training") for seed in (1, 2, "1")}) == 6


WRITES = """
import sys
from pathlib import Path
from util import files

folder = Path(sys.argv[1])
print("started", flush=True)
while True:
    with files.publishing(folder / "run") as part:
        (part / "a.csv").write_text("a" * 100_000)
        (part / "b.csv").write_text("b" * 100_000)
    with files.replacing(folder / "x.npz") as part:
        part.write_text("x" * 100_000)
        if sys.argv[2:]:
            print("writing", flush=True)
            sys.stdin.read()
"""


def writer(folder, *words):
    command = [sys.executable, "-c", WRITES, str(folder), *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert process.stdout.readline() == "started\n"
    return process


def hidden(folder):
    return sorted(path for path in folder.rglob(".*"))


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)


def test_what_killed_processes_left_is_removed_by_the_next_run_and_never_what_a_living_one_writes(tmp_path):
    living = writer(tmp_path / "living", "waits")
    try:
        assert living.stdout.readline() == "writing\n"
        left = 0
        for wait in np.linspace(0, 0.03, 8):
            process = writer(tmp_path)
            time.sleep(wait)
            kill(process)
            left += len(hidden(tmp_path / "run")) + len(list(tmp_path.glob(".*")))
            with files.publishing(tmp_path / "run") as part, files.replacing(tmp_path / "x.npz"):
                files.remove_left(tmp_path / "run")
                assert hidden(tmp_path / "run") == [part], "only what this process writes"
            assert not hidden(tmp_path / "run") and not list(tmp_path.glob(".*"))
        assert left, "every kill fell between two files: none showed anything"
        (being_written,) = hidden(tmp_path / "living")
        files.remove_left(tmp_path / "living")
        assert hidden(tmp_path / "living") == [being_written]
    finally:
        kill(living)
    files.remove_left(tmp_path / "living")
    assert not hidden(tmp_path / "living")


def test_only_what_this_machine_left_is_removed(tmp_path):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    pid = int(gone.stdout)
    mine, others = f".part-{files.MACHINE}-{pid}-abcdefgh", [f".part-000000-{pid}-abcdefgh", ".part-notes", ".x"]
    for name in (mine, *others):
        (tmp_path / name).mkdir()
    files.remove_left(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(others)


def test_safetensors_of_equal_content_have_equal_bytes(tmp_path, rng):
    """Of two metadata values or more the order differs from one writing to the next."""
    x, y = reference.pairs(rng, 6, 4)
    given = Embeddings.of({"image": x, "text": y}, source={"model": "a", "data": {"b": 1, "a": 2}})
    fitted, contents = interventions.fit("centring", x, y), set()
    for _ in range(8):
        given.save(tmp_path / "e.safetensors")
        interventions.save(tmp_path / "c.safetensors", fitted)
        contents.add(tuple((tmp_path / f"{name}.safetensors").read_bytes() for name in "ec"))
    assert len(contents) == 1


def test_published_files_have_the_mode_of_any_new_file(tmp_path, rng):
    before = os.umask(0o027)
    try:
        interventions.save(tmp_path / "c.safetensors", interventions.fit("centring", *reference.pairs(rng, 6, 4)))
    finally:
        os.umask(before)
    assert [(path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [("c.safetensors", 0o640)]


def test_every_safetensors_file_of_the_project_has_at_most_one_metadata_value():
    calls = []
    for path in [path for part in ("util", "[FT]*_*") for path in REPOSITORY.glob(f"{part}/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "save_file":
                values = [*node.args[2:], *(each.value for each in node.keywords if each.arg == "metadata")]
                calls.append((path.name, [len(each.keys) if isinstance(each, ast.Dict) else each for each in values]))
    assert len(calls) >= 4
    assert [name for name, counts in calls if counts not in ([], [1])] == []
