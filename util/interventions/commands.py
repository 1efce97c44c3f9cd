"""The commands that move embeddings: ``modality-gap shift``, ``fit`` and ``transform``."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import tyro

from .. import cli
from ..embeddings import Embeddings
from ..errors import UserError
from ..files import sha256
from ..geometry import mean_cosine, moved, resolve_direction, side_amounts, side_of
from ..measures.card import measure
from ..numerics.arrays import as_number
from ..readers import TEXT, read, role
from . import KINDS, fit, load, save

Kind = Literal[*KINDS]
EFFECT = ("gap_distance", "matched_cosine", "relative_gap")


@dataclass(frozen=True, kw_only=True)
class OfFiles:
    embeddings: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Files or folders of any format: files of one modality each make one set (image=a.npy says which)."""
    columns: tuple[str, ...] = ()
    """Names of the arrays or columns in them, for instance --columns image=COLUMN text=COLUMN."""

    def load(self) -> Embeddings:
        """The one set of embeddings that the files hold."""
        found = Embeddings.load(*self.given(), columns=cli.named_columns(self.columns))
        note(*found.source.get("notes", ()))
        return found

    def given(self) -> tuple[str, ...]:
        """The files that were named; none are refused."""
        if not self.embeddings:
            raise UserError("name a file of embeddings, for instance mine.npz, or two: images.npy texts.npy")
        return self.embeddings


def note(*notes: str) -> None:
    """Sentences beside the output, which another program may read."""
    for each in notes:
        print(f"note: {each}", file=sys.stderr)


def _effect(given: Embeddings, after: Sequence[np.ndarray]) -> str:
    """What other rows do to the numbers of the gap that there are; a modality that stays as it was is named."""
    rows = dict(zip(given.names, after, strict=True))
    note(*(f"{name} stays as it was" for name, old in given.modalities.items() if np.array_equal(old, rows[name])))
    if len(given.names) == 1:
        (name,), (old,) = given.names, given.modalities.values()
        return f"mean cosine {name} {mean_cosine(old):.4f} -> {mean_cosine(after[0]):.4f}, {len(old)} rows"
    effects = []
    for names in combinations(given.names, 2):
        duo = given.duo(names)
        both = (duo, replace(duo, modalities={name: rows[name] for name in names}))
        was, now = (measure(one, only=EFFECT, intervals=False) for one in both)
        numbers = {name: (was[name], now[name]) for name in EFFECT}
        said = [f"{name} {a:.4f} -> {b:.4f}".replace("_", " ") for name, (a, b) in numbers.items() if a is not None]
        effects.append(f"{f'{names[0]} and {names[1]}: ' if len(rows) > 2 else ''}{', '.join(said)}")
    return "; ".join(effects)


def _replaced(before: Embeddings, after: Sequence[np.ndarray], told: Mapping) -> Embeddings:
    """The embeddings with as many other rows of each modality, in order; ``told`` is added to their source."""
    source = {name: value for name, value in before.source.items() if name != "notes"} | told
    return replace(before, modalities=dict(zip(before.names, after, strict=True)), source=source)


@dataclass(frozen=True, kw_only=True)
class Shift(OfFiles):
    """Move embeddings along their gap vector, or by a vector of somebody else, and save the result.

    Rows are made unit-norm again after it.
    """

    output: cli.FileOut
    """Where to write: .npy, .npz or .safetensors."""
    amount: float | None = None
    """The paper's delta: positive closes the gap, negative widens it. By default the length of the --direction."""
    side: str | None = None
    """both (the default): half each, as in Figure 3. The name of a modality, first or second: that one alone."""
    direction: Path | None = None
    """A file of one vector, the first modality's centre minus that of text, in place of their own gap vector. It is
    made unit. Texts move along it, others against it. One modality alone needs it."""

    def __call__(self) -> None:
        before = self.load()
        alone = before.names[0] if len(before.names) == 1 else None
        if alone and self.side not in (None, alone):
            raise UserError(f"--side {self.side}: these embeddings are {alone} alone; leave it out")
        vector = self._vector(before) if self.direction else None
        if self.amount is None and vector is None:
            raise UserError("shift needs --amount, or --direction with a vector as long as the shift")
        amount = float(np.linalg.norm(vector)) if self.amount is None else as_number(self.amount, "--amount")
        first, last = names = (alone, alone) if alone and self.direction else before.two()
        unit = resolve_direction(before.modalities[first], before.modalities[last], vector)
        side = ("second" if role(alone) == TEXT else "first") if alone else side_of(names, self.side or "both")
        against, along = side_amounts(amount, side)
        steps = {name: step * unit for name, step in ((first, -against), (last, along)) if step}
        after = [moved(x, steps[name], name) if name in steps else x for name, x in before.modalities.items()]
        told = {"amount": amount, "side": self.side, "moved": list(steps)}
        if path := self.direction:
            told["direction"] = {"path": str(path), "sha256": sha256(path)}
        _replaced(before, after, {"shift": told}).save(self.output)
        cli.say(f"{_effect(before, after)}; wrote {self.output}")

    def _vector(self, given: Embeddings) -> np.ndarray:
        """The one vector of --direction, as wide as the embeddings."""
        found, path = [np.asarray(each) for each in read(self.direction)[0].values()], self.direction
        if len(found) != 1 or {found[0].size, max(found[0].shape, default=0)} != {given.dim}:
            shapes = ", ".join(str(each.shape) for each in found)
            needed = f"one vector is needed, of the {given.dim} columns of {given.source['path']}"
            raise UserError(f"{path}: {needed}; it holds {shapes}")
        if found[0].dtype.kind not in "fiu" or not np.isfinite(found[0]).all() or not found[0].any():
            raise UserError(f"{path}: the vector must be finite numbers, and not all zero")
        return found[0].reshape(-1).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class Fit(OfFiles):
    """Fit an intervention to two modalities, or centring to one, and save it as a calibration file."""

    kind: Kind
    """shift: along the gap vector. centring: each modality minus its mean. realign: texts to mean and variance of the
    first modality. procrustes: texts turned onto their pairs. ablation: the widest dimensions of the gap deleted."""
    output: cli.FileOut
    """The calibration to write, a .safetensors file."""
    amount: float | None = None
    """shift: the paper's delta; by default the gap distance, so that the centroids meet before renormalising."""
    side: str | None = None
    """shift: both (the default): half each; the name of a modality, first or second: that one all of it."""
    dimensions: int | None = None
    """ablation: how many dimensions to delete."""
    ONLY: ClassVar = (
        cli.Only("amount side", "--kind shift", lambda chosen: chosen.kind == "shift"),
        cli.Only("dimensions", "--kind ablation", lambda chosen: chosen.kind == "ablation"),
    )

    def __call__(self) -> None:
        options = {name: getattr(self, name) for name in ("amount", "dimensions") if getattr(self, name) is not None}
        if self.kind == "ablation" and not options:
            raise UserError("--kind ablation needs --dimensions: how many to delete")
        given = self.load()
        modalities = given.names if self.kind == "centring" and len(given.names) == 1 else given.two()
        if self.side:
            options["side"] = side_of(modalities, self.side)
        rows = given.paired() if self.kind == "procrustes" else tuple(given.modalities.values())
        about = {name: given.source.get(name) for name in ("model", "caption_rule")}
        about["data"] = {**given.digest(), "source": dict(given.source)}
        about["n"] = {name: len(part) for name, part in zip(modalities, rows, strict=True)}
        fitted = fit(self.kind, *rows, **options, about=about)
        effect = _effect(given, fitted.by_name(given.modalities))
        save(self.output, fitted)
        if self.kind == "procrustes" and len(rows[0]) < given.dim:
            note(f"{len(rows[0])} pairs do not settle a turn in {given.dim} dimensions; others fit it less")
        cli.say(f"{self.kind}: {effect} on its own rows; wrote {self.output}")


@dataclass(frozen=True, kw_only=True)
class Transform(OfFiles):
    """Apply a calibration to new embeddings of one modality or both, by their names, and save the result."""

    calibration: Path
    """A file of ``modality-gap fit``."""
    output: cli.FileOut
    """Where to write: .npy, .npz or .safetensors, which also says which calibration moved it."""
    inverse: bool = False
    """Undo it instead."""

    def __call__(self) -> None:
        before, calibration = self.load(), load(self.calibration)
        where, models = before.source["path"], (calibration.about["model"], before.source.get("model"))
        try:
            after = calibration.by_name(before.modalities, self.inverse)
        except UserError as error:
            raise UserError(f"{where}, by {self.calibration}: {error}") from error
        if None not in models and models[0] != models[1]:
            note(f"{self.calibration} was fitted on {models[0]}, {where} is of {models[1]}: does it apply?")
        told = {"kind": calibration.kind, "inverse": self.inverse, "calibration_sha256": sha256(self.calibration)}
        if earlier := before.source.get("transform"):
            told["after"] = earlier
        _replaced(before, after, {"transform": told}).save(self.output)
        cli.say(f"{calibration.kind}: {_effect(before, after)}; wrote {self.output}")
