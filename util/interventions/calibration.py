"""The calibration file: a fitted intervention with all that it came from, in safetensors, and nothing unpickled.

Arrays are tensors by name; the metadata hold one json, ``calibration``: schema_version, kind, settings (amount, side,
...) and about (model, data, n of each modality, caption_rule, selection: null where nobody said; versions and commit).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .. import records
from ..embeddings import Embeddings
from ..errors import UserError
from ..files import replacing
from .intervention import Intervention
from .linear import Ablation, Procrustes
from .moves import Centring, ReAlign, Shift

KINDS: dict[str, type[Intervention]] = {cls.kind: cls for cls in (Shift, Centring, ReAlign, Procrustes, Ablation)}
SCHEMA_VERSION = 1
SUFFIX, METADATA = ".safetensors", "calibration"

SAID = ("model", "data", "n", "caption_rule", "selection")
"""What ``about`` of a file always holds, None where nobody said."""


def fit(kind: str, *rows, **options) -> Intervention:
    """Fits an intervention by the name of its kind.

    Args:
        kind: shift, centring, realign, procrustes or ablation.
        rows: float arrays (n, d) and (m, d), unit-norm rows of the first modality and of text; (n, d) alone for
            centring.
        options: those of the kind's ``fit``, ``about`` among them.
    """
    if kind not in KINDS:
        raise UserError(f"kind {kind!r} is unknown; known are {', '.join(KINDS)}")
    return KINDS[kind].fit(*rows, **options)


def replaced(before: Embeddings, moved: Sequence[np.ndarray], told: Mapping) -> Embeddings:
    """The embeddings with as many other rows of each modality, in order; ``told`` is added to their source."""
    source = {name: value for name, value in before.source.items() if name != "notes"} | told
    pairs = np.empty((0, len(before.names)), np.int64) if before.unpaired else before.pairs
    modalities = dict(zip(before.names, moved, strict=True))
    return Embeddings.of(modalities, pairs, before.labels, source, before.beside)


def save(path: str | Path, intervention: Intervention) -> Path:
    """Writes an intervention; the file appears complete or not at all.

    Args:
        path: ends in .safetensors.
        intervention: its ``about`` may hold whatever ``util.records.plain`` can make json of; package versions and the
            commit are added where it does not hold them yet.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise UserError(f"{path}: a calibration is a {SUFFIX} file; name it so")
    made = {"versions": records.versions(), "commit": records.commit()}
    about = {**dict.fromkeys(SAID), **made, **intervention.about}
    told = {"schema_version": SCHEMA_VERSION, "kind": intervention.kind, "settings": intervention.settings()}
    try:
        text = json.dumps(records.plain(told | {"about": about}), allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: about must hold what json can ({error})") from error
    with replacing(path) as part:
        try:
            save_file({k: np.ascontiguousarray(v) for k, v in intervention.arrays().items()}, part, {METADATA: text})
        except SafetensorError as error:
            raise UserError(f"{path}: could not be written ({error})") from error
    return path


def load(path: str | Path) -> Intervention:
    """Reads a calibration, everything checked.

    Returns:
        the intervention that was saved, bit for bit; its ``about`` holds the versions and the commit as well.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; `modality-gap fit` writes a calibration")
    try:
        with safe_open(path, framework="np") as file:
            told = json.loads((file.metadata() or {}).get(METADATA, "null"))
            cls = _kind(path, told)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
    except UserError:
        raise
    except Exception as error:  # whatever a damaged or hostile file makes its parser raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{path}: not readable as a calibration ({reason}); is it damaged?") from error
    try:
        restored = cls(**arrays, **told["settings"], about=told["about"])
    except (TypeError, ValueError) as error:  # a TypeError names what the kind lacks, or does not have
        raise UserError(f"{path}: no calibration of kind {cls.kind} ({error}); fit it again") from error
    given = {**told["settings"], **arrays}
    if lacking := {**restored.settings(), **restored.arrays()}.keys() - given.keys():
        raise UserError(f"{path}: a calibration of kind {cls.kind} needs {', '.join(lacking)}; fit it again")
    for name, value in restored.arrays().items():
        if not np.array_equal(value, given[name]):  # all that is ever changed is a direction that is made unit
            raise UserError(f"{path}: {name} must have norm 1; it has {np.linalg.norm(given[name]):.6g}; fit it again")
    return restored


def _kind(path: Path, told) -> type[Intervention]:
    """The class that the metadata name, after a look at whether they are those of a calibration."""
    if not isinstance(told, dict) or not {"schema_version", "kind", "settings", "about"} <= set(told):
        raise UserError(f"{path}: its metadata are not those of a calibration; `modality-gap fit` writes one")
    if told["schema_version"] != SCHEMA_VERSION:
        raise UserError(f"{path}: schema {told['schema_version']!r}, expected {SCHEMA_VERSION}; fit it again")
    if not isinstance(told["kind"], str) or told["kind"] not in KINDS:
        raise UserError(f"{path}: kind {told['kind']!r} is unknown; known are {', '.join(KINDS)}")
    parts = (told["settings"], told["about"])
    if not all(isinstance(part, dict) for part in parts) or not set(SAID) <= set(told["about"]):
        raise UserError(f"{path}: its settings or what it says of its source ({', '.join(SAID)}) are incomplete")
    return KINDS[told["kind"]]
