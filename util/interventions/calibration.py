"""The calibration file: a fitted intervention with all that it came from, in safetensors, and nothing unpickled.

Steps are tensors, "x.0" the first of the first modality. The metadata hold one json, ``calibration``: ``Told``.
"""

import inspect
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import safe_open
from safetensors.numpy import save_file

from .. import records
from ..errors import UserError, reason, refusal
from ..files import replacing
from ..numerics.arrays import as_unit_pair
from .intervention import PLACES, Intervention
from .kinds import KINDS

SUFFIX, METADATA, SCHEMA_VERSION = ".safetensors", "calibration", 2


class About(BaseModel, extra="allow"):
    """Where a calibration comes from: null where nobody said. Versions and commit stand beside it."""

    model_config = ConfigDict(strict=True)
    model: Any
    data: Any
    n: dict[str, int] | None
    caption_rule: Any
    selection: Any


class Told(BaseModel):
    """What the metadata of a calibration say."""

    schema_version: Literal[SCHEMA_VERSION]
    kind: Literal[*KINDS]
    settings: dict
    about: About


def fit(kind: str, x, y=None, *, about: dict | None = None, **options) -> Intervention:
    """Fits an intervention by the name of its kind.

    Args:
        kind: shift, centring, realign, procrustes or ablation.
        x: float array (n, d), unit-norm rows of the first modality.
        y: float array (m, d), unit-norm rows of text; pairs, m = n, for procrustes. Only centring does without.
        about: model, data, caption rule, selection, and ``n``, rows of each modality by its name in order, by which
            ``Intervention.by_name`` knows them; by default they are x and y.
        options: those of the function in ``util.interventions.kinds``, for instance the amount of a shift.
    """
    if kind not in KINDS:
        raise UserError(f"kind {kind!r} is unknown; known are {', '.join(KINDS)}")
    rows = as_unit_pair(x, x if y is None else y)[: 1 if y is None else 2]
    try:
        inspect.signature(KINDS[kind]).bind(*rows, **options)
    except TypeError as error:
        raise UserError(f"options of {kind}: {error}") from error
    steps, settings = KINDS[kind](*rows, **options)
    counts = {name: len(part) for name, part in zip(PLACES, rows, strict=False)}
    return Intervention(kind=kind, steps=steps, settings=settings, about={"n": counts, **(about or {})})


def save(path: str | Path, intervention: Intervention) -> Path:
    """Writes an intervention into a .safetensors file, which appears complete or not at all.

    Its ``about`` holds what ``util.records.plain`` makes json of. Versions and commit are added where it lacks them.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise UserError(f"{path}: a calibration is a {SUFFIX} file; name it so")
    about = dict.fromkeys(About.model_fields) | {"versions": records.versions(), "commit": records.commit()}
    told = {"schema_version": SCHEMA_VERSION, "kind": intervention.kind, "settings": intervention.settings}
    told["about"] = about | dict(intervention.about)
    try:
        text = json.dumps(records.plain(told), allow_nan=False)  # in the order of its modalities
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: about must hold what json can ({error})") from error
    steps = [(f"{place}.{k}", step) for place, each in intervention.steps.items() for k, step in enumerate(each)]
    with replacing(path) as part:
        save_file({name: np.ascontiguousarray(step) for name, step in steps}, part, {METADATA: text})
    return path


def load(path: str | Path) -> Intervention:
    """Reads a calibration, everything checked: the intervention that was saved, bit for bit."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; `modality-gap fit` writes a calibration")
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(METADATA, "null")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
    except Exception as error:  # whatever a damaged or hostile file makes its parser raise
        raise UserError(f"{path}: not readable as a calibration ({reason(error)}); is it damaged?") from error
    steps: dict[str, tuple] = {}
    for name in sorted(arrays):
        place = name.partition(".")[0]
        steps[place] = (*steps.get(place, ()), arrays[name])
    try:
        told = Told.model_validate_json(text)
        return Intervention(kind=told.kind, steps=steps, settings=told.settings, about=told.about.model_dump())
    except (ValidationError, UserError) as error:
        said = refusal(error) if isinstance(error, ValidationError) else error
        raise UserError(f"{path}: no calibration as `modality-gap fit` writes it: {said}; fit it again") from error
