"""The house stays small, its imports run downwards, its prose stays short. The bounds below only fall."""

import ast
import re
from graphlib import TopologicalSorter

import pytest

from scripts import REPOSITORY as ROOT
from scripts import imports

LINES = {"util": 11_800, "outside tests": 19_999, "tests": 14_700}
"""Most lines of Python: of the package, of it and the folders' scripts and benchmarks, of the tests."""
MOST_ENTRIES = 24
MOST_FUNCTION_LINES = 62
README_BYTES, README_LINES, README_ROWS, COMMAND_LINE = 10_000, 150, 40, 25
MEAN_WORDS = 20

LAYERS = (
    ("files",),
    ("numerics",),
    ("geometry",),
    ("contrastive", "records", "figures", "cli"),
    ("embeddings", "readers"),
    ("measures", "published", "interventions"),
    ("corpora",),
    ("training",),
    ("encoders",),
    ("extraction",),
    ("zero_shot", "fairness"),
    ("explorer",),
    ("reporting",),
    ("commands",),
)
"""The floors of util, from the ground up. A module imports from its own floor and those below."""
FLOOR = {name: floor for floor, names in enumerate(LAYERS) for name in names}
PUBLIC = ("geometry", "contrastive", "embeddings", "measures", "interventions", "zero_shot", "fairness")
"""What the contract and the README's table of calls name."""

PYTHON = [path for path in ROOT.rglob("*.py") if not {".venv", "outputs", "build"} & set(path.relative_to(ROOT).parts)]
PACKAGE = [path for path in PYTHON if path.is_relative_to(ROOT / "util")]
FOLDERS = sorted(path for path in ROOT.glob("[FT]*_*") if path.is_dir())
READMES = [ROOT / "README.md", *(folder / "README.md" for folder in FOLDERS)]


def dotted(path):
    """ "util.numerics.arrays" of a file; a package's own name for its __init__."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path): path for path in PACKAGE}


def imported(path, inside=True):
    """Modules of util that a file imports, or ``inside`` its functions too and on demand."""
    package = dotted(path).split(".") if path.name == "__init__.py" else dotted(path).split(".")[:-1]
    found = set()
    for level, module, names in imports(path, inside):
        above = package[: len(package) - level + 1] if level else []
        base = ".".join([*above, *filter(None, [module])])
        found |= {name if (name := f"{base}.{each}") in NAMES else base for each in names or [""]}
    for node in ast.walk(ast.parse(path.read_text())) if inside else ():
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Kind":
            found.add(f"{'.'.join(package)}.{node.args[1].value.partition('.')[0]}")
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "attributes":
            found |= {f"{dotted(path)}.{part.value.value}" for part in node.keywords}
    return found & set(NAMES) - {dotted(path)}


def room(name):
    """ "numerics" of "util.numerics.arrays"; empty for util itself."""
    return name.split(".")[1] if "." in name else ""


@pytest.mark.parametrize("path", PACKAGE, ids=dotted)
def test_no_import_of_util_runs_upwards(path):
    own = room(dotted(path))
    if own in ("", "__main__"):
        return
    assert own in FLOOR, f"util/{own} stands on no floor of LAYERS"
    above = {name for name in imported(path) if room(name) and FLOOR[room(name)] > FLOOR[own]}
    assert not above, f"{dotted(path)} imports from above: {', '.join(sorted(above))}"


def test_no_imports_run_in_a_circle():
    graph = {name: imported(path, inside=False) for name, path in NAMES.items()}
    assert list(TopologicalSorter(graph).static_order())


def test_util_imports_itself_relatively_and_no_figure():
    figures = {path.stem for folder in FOLDERS for path in folder.glob("*.py")}
    for path in PACKAGE:
        absolute = {module.split(".")[0] for level, module, _ in imports(path) if not level}
        assert not absolute & ({"util", "modality_gap"} | figures), dotted(path)


def test_a_module_of_util_serves_two_folders_or_the_command_line_or_the_contract():
    def reached(start):
        seen, todo = set(), set(start)
        while todo:
            name = todo.pop()
            seen.add(name)
            todo |= imported(NAMES[name]) - seen
        return seen

    public = [name for name in NAMES if room(name) in PUBLIC]
    served = reached([*public, "util.commands", "util.__main__"])
    by_folder = [reached({name for path in folder.rglob("*.py") for name in imported(path)}) for folder in FOLDERS]
    packages = {name for name, path in NAMES.items() if path.name == "__init__.py"}
    for name in set(NAMES) - served - packages:
        assert sum(name in seen for seen in by_folder) > 1, f"{name} serves one folder only; it belongs there"


def test_scripts_are_imported_by_no_module():
    for folder in FOLDERS:
        scripts = {path.stem for path in folder.glob("*.py") if "cli.main(" in path.read_text()}
        assert scripts, folder.name
        for path in folder.rglob("*.py"):
            assert not scripts & {module for _, module, _ in imports(path)}, f"{path.name} imports a script"


def test_modules_of_the_five_folders_have_names_of_their_own():
    names = [path.stem for folder in FOLDERS for path in folder.glob("*.py")]
    assert len(names) == len(set(names))


def test_util_has_few_entries():
    entries = [path.name for path in (ROOT / "util").iterdir() if not path.name.startswith(("_", "."))]
    assert len(entries) <= MOST_ENTRIES, sorted(entries)


def test_the_code_stays_small():
    def lines(paths):
        return sum(len(path.read_text().splitlines()) for path in paths)

    tests = [path for path in PYTHON if path.is_relative_to(ROOT / "tests")]
    counted = {"util": lines(PACKAGE), "outside tests": lines(set(PYTHON) - set(tests)), "tests": lines(tests)}
    for part, most in LINES.items():
        assert counted[part] <= most, f"{part}: {counted[part]} lines, at most {most}"


def test_functions_stay_short():
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < MOST_FUNCTION_LINES, f"{dotted(path)}.{node.name}"


def test_the_readme_shows_the_command_before_all_else():
    text = (ROOT / "README.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(text.encode()) <= README_BYTES and len(text.splitlines()) <= README_LINES and len(rows) < README_ROWS
    assert any("make figures" in line for line in text.splitlines()[: COMMAND_LINE - 1])


def words_of_sentences(text):
    """Number of words of every sentence of plain prose; code, tables, headings and field lists are left out."""
    text = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^\s*[|#].*$|^ {4,}.*$", "", text, flags=re.MULTILINE)
    parts = re.split(r"(?<=[.!?])\s+|\n\s*\n|\n\s*[-*] ", re.sub(r"^- ", "", text, flags=re.MULTILINE))
    counts = [len(re.findall(r"[\w`(/-]+", part)) for part in parts]
    return [count for count in counts if count > 2]


def test_sentences_count_as_they_should():
    assert words_of_sentences("One two three four. Five six seven!\n\n- eight nine ten\n| a | b | c |") == [4, 3, 3]


def test_the_sentences_of_readmes_are_short():
    for path in READMES:
        counts = words_of_sentences(path.read_text())
        assert sum(counts) / len(counts) < MEAN_WORDS, f"{path.relative_to(ROOT)}: {sum(counts) / len(counts):.1f}"


def test_the_sentences_of_docstrings_are_short():
    counts = []
    for path in {*PYTHON} - {path for path in PYTHON if path.is_relative_to(ROOT / "tests")}:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                counts += words_of_sentences(text)
    assert sum(counts) / len(counts) < MEAN_WORDS


def test_prose_has_hardly_a_semicolon():
    for path in READMES:
        text = re.sub(r"```.*?```|`[^`]*`|^\s*\|.*$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
        assert text.count(";") <= 2, path.relative_to(ROOT)


def test_no_test_module_imports_another():
    for path in (ROOT / "tests").glob("*.py"):
        assert not re.search(r"^\s*(from|import) test_", path.read_text(), re.MULTILINE), path.name
