"""What is imported, and when: everything is there after ``import util``, and nothing heavy before it is used."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from scripts import REPOSITORY, python

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
