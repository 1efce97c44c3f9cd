"""The console command: ``modality-gap`` or ``python -m util``."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import tyro

from . import UserError, cli, interventions, readers
from .embeddings import Embeddings
from .files import REPOSITORY, sha256
from .geometry import mean_cosine, moved, resolve_direction, side_amounts, side_of
from .measures.card import measure
from .measures.commands import Compare, Measure, Merge, OfFiles, note
from .numerics.arrays import as_number
from .readers import TEXT, role
from .reporting.steps import FOLDERS, Figures, Paper
from .zero_shot.evaluation import Evaluate

EFFECT = ("gap_distance", "matched_cosine", "relative_gap")


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
        found, path = [np.asarray(each) for each in readers.read(self.direction)[0].values()], self.direction
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

    kind: Literal[*interventions.KINDS]
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
        fitted = interventions.fit(self.kind, *rows, **options, about=about)
        effect = _effect(given, fitted.by_name(given.modalities))
        interventions.save(self.output, fitted)
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
        before, calibration = self.load(), interventions.load(self.calibration)
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


@dataclass(frozen=True, kw_only=True)
class Published:
    """Fetch the authors' eight embedding files (11 MB) into the cache folder (MODALITY_GAP_DATA).

    By hand: put features_clip.npy, features_clip_random.npy, and the same of convirt, videoclip and clasp there, from
    https://github.com/Weixin-Liang/Modality-Gap/tree/8e20cb24efa4c5f89aad694f2f65eb43ffc46d10/Figure_1_Modality_Gap
    """

    keep_going: bool = False
    """Exit with 0 although files are missing."""

    def __call__(self) -> None:
        from . import published

        missing = published.fetch_all()
        if missing and not self.keep_going:
            raise UserError(f"the published files {', '.join(missing)} are missing")


@dataclass(frozen=True, kw_only=True)
class _OfRecords:
    outputs: Path = cli.OUTPUTS
    """Where the records lie: in this folder, in its subfolders, or in those of own/ there."""


@dataclass(frozen=True, kw_only=True)
class Report(OfFiles, _OfRecords):
    """Build one page about your embeddings, with the gap as a dial. Without files: report.html from the records."""

    embeddings: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Files or folders as for measure. Several sets stand side by side."""
    output: cli.FileOut = Path("gap.html")
    """The page: one file that needs no network."""
    labels: str | None = None
    """A file with the class of each row, as for evaluate: the page shows which decisions flip."""
    prompts: str | None = None
    """A file with the embeddings of the classes, with their names where labels are names."""
    pictures: Path | None = None
    """The folder that thumbnails may come from, by default that of the file; paths beside the rows say which."""
    umap: Literal["auto", "yes", "no"] = "auto"
    """Lay the rows out by UMAP too; auto does up to 5,000 pairs."""
    export: Path | None = None
    """Write a .parquet too: vector, projection_x, projection_y, modality and pair of every row, for other tools."""
    seed: int = 0
    """Seed of UMAP and of samples."""
    ONLY: ClassVar = (
        cli.Only(
            "columns output labels prompts pictures umap export seed", "files of embeddings", lambda own: own.embeddings
        ),
        cli.Only("outputs", "records", lambda own: not own.embeddings),
    )

    def __call__(self) -> None:
        from . import explorer
        from .reporting import comparisons

        if not self.embeddings:
            return cli.say(f"[report] wrote {cli.on_terminal(comparisons.write_report(self.outputs))}")
        told = {"columns": cli.named_columns(self.columns), "labels": self.labels, "prompts": self.prompts}
        drawn = {"pictures": self.pictures, "umap": {"yes": True, "no": False}.get(self.umap), "seed": self.seed}
        page = explorer.report(*self.embeddings, output=self.output, **told, **drawn)
        cli.say(f"wrote {cli.on_terminal(self.output)} ({len(page.html.encode()) / 1e6:.1f} MB): open it in a browser")
        if self.export:
            explorer.export(explorer.sets_of(self.embeddings, **told), self.export)
            cli.say(f"wrote {cli.on_terminal(self.export)}")


@dataclass(frozen=True, kw_only=True)
class Notebooks(_OfRecords):
    """Execute the notebooks on the records in a folder."""

    def __call__(self) -> None:
        from .reporting import runner

        for path in runner.execute_there(self.outputs):
            cli.say(f"[notebooks] wrote {cli.on_terminal(path)}")


@dataclass(frozen=True, kw_only=True)
class Results(_OfRecords):
    """Copy the small records into the folders' results/; regenerate the README tables and the committed notebooks."""

    def __call__(self) -> None:
        from .reporting import comparisons, runner

        for line in comparisons.publish_results(self.outputs):
            cli.say(f"[results] {line}")
        paths = [path for folder in FOLDERS for path in (REPOSITORY / folder).glob("*.ipynb")]
        for path in runner.execute_all([runner.Job(path, path) for path in paths], self.outputs):
            cli.say(f"[results] executed {path.relative_to(REPOSITORY)}")


@dataclass(frozen=True, kw_only=True)
class TrainSmallClip:
    """Train the embedded model again, from the seeds that made the one that ships."""

    output: cli.FileOut = cli.OUTPUTS / "small_clip"
    """Folder for the checkpoint and its record."""
    seed: int = 0
    """Seed of the weights, the corpus and the order of the data."""

    def __call__(self) -> None:
        from .encoders.small_clip import train_small_clip

        train_small_clip(self.output, seed=self.seed)


COMMANDS = {
    "measure": Measure, "merge": Merge, "compare": Compare, "evaluate": Evaluate, "shift": Shift, "fit": Fit,
    "transform": Transform, "published": Published,
    "figures": Figures, "report": Report, "notebooks": Notebooks, "results": Results,
    "paper": Paper, "train-small-clip": TrainSmallClip,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``modality-gap``."""
    words = sys.argv[1:] if arguments is None else arguments
    checkout = (REPOSITORY / "util" / "commands.py").is_file()
    if checkout and __package__ != "util" and words[:1] in (["figures"], ["paper"]):
        # goes on as python -m util: the scripts of a checkout import util, and one process needs one package
        path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
        again = [sys.executable, "-P", "-m", "util", *words]
        os.execve(sys.executable, again, {**os.environ, "PYTHONPATH": path})
    cli.run(lambda: read(words)())


def read(words: list[str]):
    """The command that some words name, with its options; it is called to work."""
    about = "Measure, explain and shift the modality gap."
    commands = tyro.extras.subcommand_cli_from_dict
    return cli.in_one_line(commands, COMMANDS, prog="modality-gap", description=about, args=words)
