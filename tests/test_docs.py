"""The documentation is read and held to what it says."""

import re
import shlex
import sys
import tomllib

import nbformat
import pytest

import scripts
from util import cli, commands
from util.reporting import comparisons

ROOT = scripts.REPOSITORY
DOCUMENTS = [*comparisons.readmes(), ROOT / "CONTRIBUTING.md"]
NOTEBOOKS = [ROOT / name for name in re.findall(r"\((\S+\.ipynb)\)", (ROOT / "README.md").read_text())]
MADE_BY_RUNS, COCO = ("outputs/", "results/"), ("annotations/", "val2017/", "train2017/")
FILE = re.compile(r"[\w./-]+\.(py|md|ipynb|json|cff|toml|lock|j2)|[\w./-]+/")
OTHER_NAMES = {
    "PIL": "pillow", "sklearn": "scikit-learn", "open_clip": "open_clip_torch", "IPython": "jupyter",
    "umap": "umap-learn", "mpl_toolkits": "matplotlib",
}  # fmt: skip


def spans(document):
    """What stands in code: inline code and the lines of shell blocks."""
    text = document.read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [*inline, *(line for block in blocks for line in block.splitlines())]


ALL_SPANS = sorted({span.split("  #")[0].strip() for document in DOCUMENTS for span in spans(document)})


def commands_that_begin(*beginnings):
    return [span for span in ALL_SPANS if re.match("|".join(beginnings), span)]


@pytest.mark.parametrize("command", commands_that_begin(r"python \S+\.py"))
def test_every_script_command_names_a_script_and_its_options(command, tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text((ROOT / "util/data/tasks.toml").read_text())
    monkeypatch.chdir(tmp_path)
    path, *words = shlex.split(command)[1:]
    assert (ROOT / path).is_file()
    if not path.startswith("benchmarks/"):
        assert cli.parse(scripts.load(path).PRESETS, "", words)


@pytest.mark.parametrize("command", commands_that_begin("modality-gap ", "python -m util"))
def test_every_console_command_parses(command):
    words = shlex.split(command.removeprefix("python -m util").removeprefix("modality-gap"))
    assert words[0] in commands.COMMANDS if len(words) == 1 else commands.read(words)


@pytest.mark.parametrize("span", commands_that_begin("make "))
def test_every_make_target_exists(span):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"[a-z-]+", span.removeprefix("make "))) <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_and_picture_that_is_named_exists(document):
    named = [span for span in spans(document) if FILE.fullmatch(span)]
    assert named
    for name in named:
        if not name.startswith((*MADE_BY_RUNS, *COCO)) and name != "paper.json":
            assert (ROOT / name).exists() or (document.parent / name).exists() or any(ROOT.glob(f"*/{name}")), name
    for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", document.read_text()):
        assert (document.parent / name).is_file(), name


def test_every_option_named_in_the_readmes_exists():
    takes_options = [scripts.load(path).Settings for path in scripts.all_scripts()] + list(commands.COMMANDS.values())
    options = {name.replace("_", "-") for settings in takes_options for name in settings.__dataclass_fields__}
    for span in ALL_SPANS:
        for option in re.findall(r"--([a-z][a-z-]+)", span):
            assert option in options | {"help", "nproc-per-node"}, span


def test_the_python_lines_of_the_readme_run_as_pasted(tmp_path):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line]) == 6
    assert float(scripts.python("-c", code, cwd=tmp_path).split()[0]) > 0


def test_every_package_that_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    everything = sum(project["optional-dependencies"].values(), project["dependencies"])
    declared = {re.match(r"[\w-]+", line)[0] for line in everything}
    files = [path for place in ("util/**/*.py", "[FT]*_*/**/*.py", "benchmarks/*.py") for path in ROOT.glob(place)]
    known = {"util", *sys.stdlib_module_names, *(path.stem for path in files), *(path.parent.name for path in files)}
    for path in files:
        found = {module.split(".")[0] for level, module, _ in scripts.imports(path) if not level} - known
        assert {OTHER_NAMES.get(name, name) for name in found} <= declared, path.relative_to(ROOT)


def test_the_lock_names_exact_versions_and_no_addresses():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(re.match(r"[A-Za-z0-9._-]+==[\w.+]+( ; .+)?$", line) for line in lines)
    assert not any("://" in line or line.startswith("-") for line in lines)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_committed_notebooks_are_executed_short_and_small(path):
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert len(code) <= 15 and path.stat().st_size < 500_000
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
