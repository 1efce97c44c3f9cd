"""Startup of the command line beside ``import numpy``, and the import of each script of a figure or table.

python benchmarks/startup.py                     (about 3 minutes on 2 cores)
python benchmarks/startup.py --preset smoke      (one run of each)
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import frame
from frame import WIDTH, fact, pairs, row, seconds
from util import records

Settings = frame.Settings
PRESETS = {"embedded": Settings(), "paper": Settings(preset="paper"), "smoke": Settings(preset="smoke", repeats=1)}
IMPORT = "import runpy, sys; sys.path.insert(0, sys.argv[1]); runpy.run_path(sys.argv[2])"


def started(settings: Settings, *words: str) -> list[float]:
    """Seconds of several fresh processes."""
    command = [sys.executable, *words]
    return seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), settings.repeats)


def peak_mb(*words: str) -> float:
    """Peak resident memory of a fresh process."""
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", code, sys.executable, *words], capture_output=True, check=True)
    return int(done.stdout) / 1024


def measure(settings: Settings, device: str) -> dict[str, list[dict]]:
    """Seconds beside numpy's import, memory, and seconds of each script's imports."""
    numpy = started(settings, "-c", "import numpy")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.npy"
        np.save(path, np.stack(pairs(1000, WIDTH, settings.seed)))
        measuring = ("-m", "util", "measure", str(path))
        rows = [
            row("modality-gap --help, beside import numpy", 0.1, started(settings, "-m", "util", "--help"), numpy),
            row(f"modality-gap measure of 1000 x {WIDTH} pairs, the same", 0.07, started(settings, *measuring), numpy),
        ]
        facts = [fact("memory of measure at its peak, MB", peak_mb(*measuring))]
    for script in sorted(records.REPOSITORY.glob("[FT]*_*/*.py")):
        if "cli.main(" in script.read_text():
            took = started(settings, "-c", IMPORT, str(script.parent), str(script))
            fact_name = f"imports of {script.relative_to(records.REPOSITORY)}, seconds"
            facts.append(fact(fact_name, float(np.median(took))))
    return {"": rows, "facts": facts}


if __name__ == "__main__":
    frame.main("startup", "Startup of the command line and of the scripts", PRESETS, measure, __doc__)
