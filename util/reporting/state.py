"""What became of each step of the paper when it was last run: one small file beside the records."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ..files import replacing

STEPS = "steps.json"


@dataclass(frozen=True)
class Outcome:
    """What became of a step: kept (its record was there), made, or failed, with the reason and the seconds it took.

    One that is still "started" when it is read back was stopped with its run.
    """

    name: str
    folder: str
    state: Literal["started", "kept", "made", "failed"]
    reason: str = ""
    seconds: float = 0.0


def keep(output: Path, outcome: Outcome) -> None:
    """Writes down what became of a step, beside what is known of the others."""
    known = {**_outcomes(output), outcome.name: asdict(outcome)}
    with replacing(output / STEPS) as part:
        part.write_text(json.dumps(known, indent=1) + "\n")


def reasons(output: Path) -> dict[str, str]:
    """Step -> why it was not finished when it was last run; empty where nothing is known."""
    return {name: each["reason"] for name, each in _outcomes(output).items() if each["state"] in ("started", "failed")}


def _outcomes(output: Path) -> dict[str, Mapping]:
    try:
        known = json.loads((Path(output) / STEPS).read_text())
        return {name: asdict(Outcome(**each)) for name, each in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):  # a file of this name that is none of ours
        return {}
