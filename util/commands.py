"""The console command: ``modality-gap`` or ``python -m util``."""

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from . import cli, interventions
from .embeddings import Embeddings, duos, open_sets
from .errors import UserError
from .files import sha256
from .geometry import Side, shift
from .interventions.calibration import replaced
from .measures import measure
from .numerics.moments import pair_moments
from .reporting.steps import FileOut, Options

Kind = Literal[*interventions.KINDS]
FilesIn = Annotated[tuple[str, ...], tyro.conf.Positional]


@dataclass(frozen=True, kw_only=True)
class _OfFiles:
    embeddings: FilesIn
    """Files or folders of any format: files of one modality each make one set (image=a.npy says which)."""
    columns: tuple[str, ...] = ()
    """Names of the arrays or columns in them, for instance --columns image=COLUMN text=COLUMN."""

    def load(self) -> Embeddings:
        """The one set of embeddings that the files hold."""
        found = Embeddings.load(*self.given(), columns=cli.named_columns(self.columns))
        for note in found.source.get("notes", ()):
            cli.say(f"note: {note}")
        return found

    def given(self) -> tuple[str, ...]:
        """The files that were named; none are refused."""
        if not self.embeddings:
            raise UserError("name a file of embeddings, for instance mine.npz, or two: images.npy texts.npy")
        return self.embeddings


def _effect(given: Embeddings, moved: tuple) -> str:
    """What other rows do to the numbers of the gap that there are."""
    if len(given.names) == 1:
        return f"{given.names[0]}: {len(moved[0])} rows"
    pairs = given.pairs_between(given.names)
    before, after = (pair_moments(*rows, pairs) for rows in (tuple(given.modalities.values()), moved))
    names = ("gap_distance", "matched_cosine", "relative_gap")
    values = {name.replace("_", " "): (getattr(before, name), getattr(after, name)) for name in names}
    return ", ".join(f"{name} {a:.4f} -> {b:.4f}" for name, (a, b) in values.items() if None not in (a, b))


@dataclass(frozen=True, kw_only=True)
class Measure(_OfFiles):
    """Print the numbers of your embeddings: gap distance, cosines, relative gap, separability."""

    as_json: bool = False
    """Print json, one object for each file and pair of modalities."""
    seed: int = 0
    """Seed of the sample and the folds of the separability."""

    def __call__(self) -> None:
        sets = open_sets(self.given(), cli.named_columns(self.columns))
        for note in [note for one in sets.values() for note in one.source.get("notes", ())]:
            print(f"note: {note}", file=sys.stderr)
        for one in duos(sets).values():
            found = measure(one, one.names, self.seed)
            told = {"embeddings": one.source["path"], **asdict(found)}
            cli.say(json.dumps(told) if self.as_json else f"{one.source['path']}: {found}")


@dataclass(frozen=True, kw_only=True)
class Shift(_OfFiles):
    """Move two modalities along their gap vector, and save the result."""

    amount: float
    """The paper's delta: positive closes the gap, negative widens it."""
    output: FileOut
    """Where to write; the suffix names the format."""
    side: Side = "both"
    """both: half each, as in Figure 3. first: the first modality alone, as in Table 2. second: the last alone."""

    def __call__(self) -> None:
        before = self.load()
        first, last = before.two()
        moved = shift(*before.modalities.values(), self.amount, side=self.side)
        told = {"amount": self.amount, "side": self.side, "along": f"{first} - {last}"}
        replaced(before, moved, {"shift": told}).save(self.output)
        cli.say(f"{_effect(before, moved)}; wrote {self.output}")


@dataclass(frozen=True, kw_only=True)
class Fit(_OfFiles):
    """Fit an intervention to two modalities, and save it as a calibration file."""

    kind: Kind
    """shift: along the gap vector. centring: each modality minus its mean. realign: texts to mean and variance of the
    first modality. procrustes: texts turned onto their pairs. ablation: the widest dimensions of the gap deleted."""
    output: FileOut
    """The calibration to write, a .safetensors file."""
    amount: float | None = None
    """shift: the paper's delta; by default the gap distance, so that the centroids meet before renormalising."""
    side: Side | None = None
    """shift: both (the default): half each; first or second: one modality all of it."""
    dimensions: int | None = None
    """ablation: how many dimensions to delete."""
    ONLY: ClassVar = (
        cli.Only("amount side", "--kind shift", lambda chosen: chosen.kind == "shift"),
        cli.Only("dimensions", "--kind ablation", lambda chosen: chosen.kind == "ablation"),
    )

    def __call__(self) -> None:
        options = self._options()
        given = self.load()
        modalities = given.two()
        rows = given.paired() if self.kind == "procrustes" else tuple(given.modalities.values())
        about = {name: given.source.get(name) for name in ("model", "caption_rule")}
        about["data"] = {**given.digest(), "source": dict(given.source)}
        about["n"] = {name: len(part) for name, part in zip(modalities, rows, strict=True)}
        fitted = interventions.fit(self.kind, *rows, **options, about=about)
        effect = _effect(given, fitted.transform(*given.modalities.values()))
        interventions.save(self.output, fitted)
        if self.kind == "procrustes" and len(rows[0]) < given.dim:
            cli.say(f"note: {len(rows[0])} pairs do not settle a turn in {given.dim} dimensions; others fit it less")
        cli.say(f"{self.kind}: {effect} on its own rows; wrote {self.output}")

    def _options(self) -> dict:
        """Options of this kind."""
        given = {name: getattr(self, name) for name in ("amount", "side", "dimensions")}
        given = {name: value for name, value in given.items() if value is not None}
        if self.kind == "ablation" and not given:
            raise UserError("--kind ablation needs --dimensions: how many to delete")
        return given


@dataclass(frozen=True, kw_only=True)
class Transform(_OfFiles):
    """Apply a calibration to new embeddings of one modality or both, by their names, and save the result."""

    calibration: Path
    """A file of ``modality-gap fit``."""
    output: FileOut
    """Where to write; the suffix names the format. A .safetensors file also says which calibration moved it."""
    inverse: bool = False
    """Undo it instead."""

    def __call__(self) -> None:
        before, calibration = self.load(), interventions.load(self.calibration)
        moved = calibration.by_name(before.modalities, self.inverse)
        told = {"kind": calibration.kind, "inverse": self.inverse, "calibration_sha256": sha256(self.calibration)}
        if earlier := before.source.get("transform"):
            told["after"] = earlier
        replaced(before, moved, {"transform": told}).save(self.output)
        cli.say(f"{calibration.kind}: {_effect(before, moved)}; wrote {self.output}")


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

        missing = published.fetch_all(say=cli.say)
        if missing and not self.keep_going:
            raise UserError(f"the published files {', '.join(missing)} are missing")


@dataclass(frozen=True, kw_only=True)
class Figures(Options):
    """Regenerate every figure and table, the notebooks and report.html into outputs/.

    The embedded preset takes about seven minutes on two cores. It trains a short version of section 4. Records of the
    same code and settings are kept. A step that fails is named at the end, with exit code 2, and the others go on.
    """

    def __call__(self) -> None:
        from .reporting import runner

        runner.run(self)


@dataclass(frozen=True, kw_only=True)
class Paper(Options):
    """Run every figure and table with the paper preset; the same command goes on where it was stopped.

    Whole records of the same settings are kept, also those that other code made. A step that fails is named at the
    end, with exit code 2, and the others go on.
    """

    preset: tyro.conf.Suppress[cli.Preset] = "paper"
    output: FileOut = cli.OUTPUTS / "paper"
    """Folder for records, log, summary and report; modality-gap report and notebooks take it by --outputs."""
    dry_run: bool = False
    """Run nothing: say what is missing, the disk space, and hours on this CPU and on a GPU."""

    def __call__(self) -> None:
        from .reporting import forecast, runner

        (forecast.describe if self.dry_run else runner.run)(self)


@dataclass(frozen=True, kw_only=True)
class _OfRecords:
    outputs: Path = cli.OUTPUTS
    """Any folder of records: in it, or in folders of figures, tables or your own data there."""


@dataclass(frozen=True, kw_only=True)
class Report(_OfRecords):
    """Build report.html from the records in a folder."""

    def __call__(self) -> None:
        from .reporting import report

        cli.say(f"[report] wrote {report.write(self.outputs)}")


@dataclass(frozen=True, kw_only=True)
class Notebooks(_OfRecords):
    """Execute the notebooks on the records in a folder."""

    def __call__(self) -> None:
        from .reporting import notebooks

        for path in notebooks.execute_there(self.outputs):
            cli.say(f"[notebooks] wrote {path}")


@dataclass(frozen=True, kw_only=True)
class Results(_OfRecords):
    """Copy the small records into the folders' results/; regenerate the README tables and the committed notebooks."""

    def __call__(self) -> None:
        from . import records
        from .reporting import notebooks, readme

        for line in readme.publish_results(self.outputs):
            cli.say(f"[results] {line}")
        for path in notebooks.refresh_committed(self.outputs):
            cli.say(f"[results] executed {path.relative_to(records.REPOSITORY)}")


@dataclass(frozen=True, kw_only=True)
class TrainSmallClip:
    """Train the embedded model again, from the seeds that made the one that ships."""

    output: FileOut = cli.OUTPUTS / "small_clip"
    """Folder for the checkpoint and its record."""
    seed: int = 0
    """Seed of the weights, the corpus and the order of the data."""

    def __call__(self) -> None:
        from .encoders.small_clip_training import train_small_clip

        train_small_clip(self.output, seed=self.seed)


COMMANDS = {
    "measure": Measure, "shift": Shift, "fit": Fit, "transform": Transform, "published": Published, "figures": Figures,
    "report": Report, "notebooks": Notebooks, "results": Results, "paper": Paper, "train-small-clip": TrainSmallClip,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``modality-gap``."""
    words = sys.argv[1:] if arguments is None else arguments
    if __package__ != "util" and words[:1] in (["figures"], ["paper"]):
        _as_util(words)
    cli.run(lambda: read(words)())


def read(words: list[str]):
    """The command that some words name, with its options; it is called to work."""
    about = "Measure, explain and shift the modality gap."
    commands = tyro.extras.subcommand_cli_from_dict
    return cli.in_one_line(commands, COMMANDS, prog="modality-gap", description=about, args=words)


def _as_util(arguments: list[str]) -> None:
    """Goes on as ``python -m util`` in a checkout: its scripts import ``util``, and one process needs one package."""
    from .records import REPOSITORY

    if (REPOSITORY / "util" / "commands.py").is_file():
        path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
        words = [sys.executable, "-P", "-m", "util", *arguments]
        os.execve(sys.executable, words, {**os.environ, "PYTHONPATH": path})
