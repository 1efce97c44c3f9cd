"""Interventions on the gap: fitted on some embeddings, applied to others, undone where that can be, kept in a file.

calibration = util.interventions.fit("centring", images, texts)
new_images, _ = calibration.transform(x=new_images)
util.interventions.save("centring.safetensors", calibration)
"""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import safe_open
from safetensors.numpy import save_file

from . import UserError, geometry, reason, records, refusal
from .files import replacing
from .geometry import Side, moments, moved, side_amounts, unit_rows, unmoved
from .numerics import arrays
from .numerics.arrays import Array, Others, Rows, Vector, to_numpy, wide

PLACES = ("x", "y")
"""The first modality, and text; what they are called where nobody named them."""
SUFFIX, METADATA, SCHEMA_VERSION = ".safetensors", "calibration", 2
NO_VARIANCE = 1e-12
"""Trace of a covariance below which all rows count as one: what is left is rounding."""

Moved = tuple[Float[Array, "n k"] | None, Float[Array, "m k"] | None]
Fitted = tuple[dict[str, tuple[np.ndarray, ...]], dict]
"""The steps for each modality, and settings: what a kind makes of checked unit rows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Intervention:
    """Something that is fitted to two modalities once and then done to any further rows of either.

    The first modality (images in the paper) is x, text is y. A row comes out the same whatever comes with it.

    Attributes:
        kind, settings: what ``modality-gap fit`` calls it, and its options and numbers, as json can hold them.
        steps: "x" and "y", or "x" alone -> what is done to the rows of that modality, in order. A step float64 (d,) is
            added, (d, d) multiplied from the right, bool (d,) says which columns stay; rows are unit-norm after each.
        about: where it comes from, as json can hold it. ``n`` in it are rows fitted on, by modality in order.
    """

    kind: str
    steps: Mapping[str, tuple[np.ndarray, ...]]
    settings: Mapping = field(default_factory=dict)
    about: Mapping = field(default_factory=dict)

    def __post_init__(self) -> None:
        steps = {place: tuple(map(_checked, each)) for place, each in self.steps.items()}
        object.__setattr__(self, "steps", steps)
        if tuple(steps) not in (PLACES[:1], PLACES) or not all(steps.values()) or len(self.names) != len(steps):
            raise UserError(f"steps must be of x, or of x and y, for {', '.join(self.names)}, not {', '.join(steps)}")
        if len(widths := {len(step) for each in steps.values() for step in each}) > 1:
            raise UserError(f"steps must be of one width, not {sorted(widths)}")
        if any(step.dtype == bool for each in steps.values() for step in each[:-1]):
            raise UserError("columns may go in the last step alone")

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities that it was fitted on."""
        return tuple(self.about.get("n") or self.steps)

    def transform(self, x: Rows | None = None, y: Others | None = None, inverse: bool = False) -> Moved:
        """New arrays (x', y') of unit-norm rows of the first modality (x), of text (y), or of both, moved.

        They need not be pairs. Each is of the kind and dtype of what was given (float32 for half precision), or None
        for None. A row that would come to zero is refused. ``inverse``: see there.
        """
        if x is None and y is None:
            raise UserError("give rows of the first modality (x), of text (y), or both")
        given = zip((x, y), PLACES, strict=True)
        return tuple(None if rows is None else self._moved(rows, place, inverse) for rows, place in given)

    def inverse(self, x: Rows | None = None, y: Others | None = None) -> Moved:
        """Unit rows that ``transform`` brings to these, where it can be undone; arguments and answer as there."""
        return self.transform(x, y, inverse=True)

    def by_name(self, modalities: Mapping[str, Array], inverse: bool = False) -> list[Array]:
        """Rows of one modality or both, each moved as the modality of its name that the calibration was fitted on.

        A name that it does not know is refused: which modality rows are of is never told by position.
        """
        if unknown := [name for name in modalities if name not in self.names]:
            there = f"a calibration of {' and '.join(self.names)} has nothing for {' and '.join(unknown)}"
            raise UserError(f"{there}; choose or name the rows, as by --columns {self.names[0]}=COLUMN")
        return [self._moved(rows, PLACES[self.names.index(name)], inverse) for name, rows in modalities.items()]

    def _moved(self, rows, place: str, inverse: bool) -> Array:
        if place not in self.steps:
            raise UserError(f"this {self.kind} was fitted on {self.names[0]} alone, and has nothing for other rows")
        name = self.names[PLACES.index(place)]
        out = arrays.as_matrix(rows, name)
        if out.shape[1] != (width := len(self.steps[place][0])):
            widths = f"{out.shape[1]} columns, the calibration is for {width}"
            raise UserError(f"{name}: these rows have {widths}; fit one on embeddings of the same model")
        arrays.check_unit_rows(out, name)
        for step in reversed(self.steps[place]) if inverse else self.steps[place]:
            out = _done(out, step.copy(), name, inverse)  # torch takes no read-only array
        return out


def _checked(step: np.ndarray) -> np.ndarray:
    """A copy of a step that nothing writes into."""
    step = np.array(step)
    if step.ndim not in (1, 2) or step.dtype not in (np.float64, bool) or not np.isfinite(step).all() or not step.size:
        raise UserError(f"a step must be finite numbers (d,) or (d, d), or bool (d,), not {step.dtype} {step.shape}")
    if step.ndim == 2:
        geometry.as_text_map(step)  # refuses all that is not orthogonal
    step.setflags(write=False)
    return step


def _done(rows: Array, step: np.ndarray, name: str, inverse: bool) -> Array:
    if step.dtype == bool and inverse:
        raise UserError(f"{name}: no inverse: the {len(step) - step.sum()} dimensions that were deleted are gone")
    if step.dtype == bool:
        return unit_rows(rows[:, step], name)
    if step.ndim == 1:
        return (unmoved if inverse else moved)(rows, step, name)
    out, turn = arrays.new_result(rows), step.T if inverse else step
    for start, block in arrays.blocks(rows):
        out[start : start + len(block)] = unit_rows(wide(block) @ arrays.on(turn, block), name)
    return out


def shift(
    x: Rows, y: Others, amount: float | None = None, direction: Vector | None = None, side: Side = "both"
) -> Fitted:
    """The paper's embedding shift: amount, direction and side are those of ``util.geometry.shift``.

    An amount of None is the length of the gap vector along the direction, so that along it the centroids meet before
    rows are made unit-norm. After that some gap is left. The inverse is exact while no modality moves by 1 or more:
    |amount| < 2 for "both", < 1 for one side. Paper: section 4.2.
    """
    unit = to_numpy(geometry.resolve_direction(x, y, direction))
    if amount is None:
        amount = (moments(x).centroid - moments(y).centroid) @ unit
    amount = arrays.as_number(amount, "amount")
    move_x, move_y = side_amounts(amount, side)
    return {"x": (-move_x * unit,), "y": (move_y * unit,)}, {"amount": amount, "side": side}


def centring(x: Rows, y: Others | None = None) -> Fitted:
    """Each modality minus the mean of its own rows here; one modality alone will do.

    On the rows that it was fitted on the gap is zero, to rounding, before they are made unit-norm; after, and on other
    rows, it is small and not zero. The inverse is exact, but for a modality whose fitted rows were all one.
    Source: "centering" of Zhang et al., "Diagnosing and rectifying vision models using language" (2023), the collapse
    of C3 (2024) without its noise, the calibration of GR-CLIP (2025) and I0T's post-hoc standardisation (2025, which
    divides by the norm of a row and not by a standard deviation) are this one operation, by means of other data. Trap:
    GR-CLIP takes the mean of queries and that of documents apart, although both are text; fit once for each.
    """
    return {name: (-moments(rows).centroid,) for name, rows in (("x", x), ("y", y)) if rows is not None}, {}


def realign(x: Rows, y: Others) -> Fitted:
    """Texts brought to the mean and the total variance of the first modality, which stays where it is.

    a = s (y - mean_y) + mean_x, b = norm(a), y' = norm(b - mean_b + mean_x); s is the root of the ratio of the traces
    of the covariances, that of x over that of y. On the rows fitted on, the mean and the trace of a are those of x, and
    so is the mean of b - mean_b + mean_x; the last renormalisation leaves both approximate. Because norm(a) =
    norm(y - mean_y + mean_x / s), this is two steps, and its inverse is exact while both are shorter than 1.
    Source: ReAlign (Yu et al., 2026), whose ``embed_ReAlign.py`` makes texts stand in for images in training. A trace
    here divides by n - 1, so that the number of rows has no part in it: 1 minus the mean cosine of different rows.
    """
    found = {"x": moments(x), "y": moments(y)}
    traces = {name: 1 - part.mean_cosine if part.n > 1 else 0.0 for name, part in found.items()}
    for name, trace in traces.items():
        if trace < NO_VARIANCE:
            raise UserError(f"{name}: ReAlign needs rows that differ; the trace of their covariance is {trace:.1e}")
    scale = float(np.sqrt(traces["x"] / traces["y"]))
    mean_x = found["x"].centroid
    first = mean_x / scale - found["y"].centroid
    second = mean_x - moments(moved(y, first, "y")).centroid
    return {"x": (np.zeros(len(first)),), "y": (first, second)}, {"scale": scale}


def procrustes(x: Rows, y: Rows) -> Fitted:
    """Texts turned onto the rows that they pair with, by ``util.geometry.orthogonal_map``; x stays.

    An isometry: cosines within the texts stay, and the inverse is exact. Paper, source and traps stand there.
    """
    turn = to_numpy(geometry.orthogonal_map(unit_rows(wide(x)), unit_rows(wide(y))))
    return {"x": (np.zeros(len(turn)),), "y": (turn,)}, {}


def ablation(x: Rows, y: Others, dimensions: int) -> Fitted:
    """So many dimensions, 1 to d - 1, of the largest entries of the gap vector deleted from both modalities.

    There is no inverse. Source: Schrodi et al., "Two effects, one trigger" (2024), who delete up to 20 of 512
    dimensions, chosen once on all of them; their finding is that a gap closed afterwards need not help the task.
    """
    d = x.shape[1]
    if arrays.as_count(dimensions, "dimensions") >= d:
        raise UserError(f"dimensions must be at most {d - 1} of {d}, not {dimensions}")
    gap = moments(x).centroid - moments(y).centroid
    deleted = np.argsort(-np.abs(gap), kind="stable")[:dimensions]  # of equal ones the first
    stay = ~np.isin(np.arange(d), deleted)
    return {"x": (stay,), "y": (stay,)}, {"dimensions": deleted.tolist()}


KINDS = {each.__name__: each for each in (shift, centring, realign, procrustes, ablation)}


class About(BaseModel, extra="allow"):
    """Where a calibration comes from: null where nobody said. Versions and commit stand beside it."""

    model_config = ConfigDict(strict=True)
    model: Any
    data: Any
    n: dict[str, int] | None
    caption_rule: Any
    selection: Any


class Told(BaseModel):
    """What the metadata of a calibration file say, as json. Its tensors are steps, "x.0" the first of x."""

    schema_version: Literal[SCHEMA_VERSION]
    kind: Literal[*KINDS]
    settings: dict
    about: About


def fit(kind: str, x, y=None, *, about: dict | None = None, **options) -> Intervention:
    """Fits an intervention by the name of its kind.

    Args:
        kind: shift, centring, realign, procrustes or ablation.
        x, y: unit-norm rows of the first modality and of text; pairs for procrustes. Only centring does without y.
        about: model, data, caption rule, selection, and ``n``, rows by modality in order, as ``by_name`` knows them.
        options: those of the function of its name here, for instance the amount of a shift.
    """
    if kind not in KINDS:
        raise UserError(f"kind {kind!r} is unknown; known are {', '.join(KINDS)}")
    rows = arrays.as_unit_pair(x, x if y is None else y)[: 1 if y is None else 2]
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
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
    except Exception as error:  # whatever a damaged or hostile file makes its parser raise
        raise UserError(f"{path}: not readable as a calibration ({reason(error)}); is it damaged?") from error
    steps: dict[str, tuple] = {}
    for name in sorted(tensors):
        place = name.partition(".")[0]
        steps[place] = (*steps.get(place, ()), tensors[name])
    try:
        told = Told.model_validate_json(text)
        return Intervention(kind=told.kind, steps=steps, settings=told.settings, about=told.about.model_dump())
    except (ValidationError, UserError) as error:
        said = refusal(error) if isinstance(error, ValidationError) else error
        raise UserError(f"{path}: no calibration as `modality-gap fit` writes it: {said}; fit it again") from error
