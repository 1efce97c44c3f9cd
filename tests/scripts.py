"""Scripts of the paper folders as modules, as their notebooks import them."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDERS = sorted(path for path in REPOSITORY.glob("[FT]*_*") if path.is_dir())


def load(path: str):
    """The module of a script, by its path from the repository."""
    return importlib.import_module(Path(path).stem)


def all_scripts() -> list[Path]:
    """Every script: the modules of the folders that read a command line."""
    found = [path for folder in FOLDERS for path in sorted(folder.glob("*.py"))]
    return [path for path in found if "cli.main(" in path.read_text()]


def python(*words, cwd=REPOSITORY, **environment):
    """What a fresh Python prints; it must not fail."""
    streams = {"capture_output": True, "text": True, "timeout": 120}
    done = subprocess.run([sys.executable, *words], cwd=cwd, env={**os.environ, **environment}, **streams)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def imports(path, inside=True):
    """(level, module, names) of every import of a file, ``inside`` its functions too."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if inside else tree.body:
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", [alias.name for alias in node.names]
