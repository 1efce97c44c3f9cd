"""The console command: ``modality-gap`` or ``python -m util``."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from util import cli, published, readme, records, report
from util.embeddings import Embeddings, Stored
from util.errors import UserError
from util.geometry import Side, gap_distance, shift
from util.measures import Measures, measure_all


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Gap distance, cosines, relative gap and separability of your own embeddings, on the terminal."""

    embeddings: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """.npy, .npz or .safetensors files."""
    as_json: bool = False
    """Print json, one object for each file and pair of modalities."""
    seed: int = 0
    """Seed of the sample and the folds of the separability."""

    def __call__(self) -> None:
        if not self.embeddings:
            raise UserError("measure needs a file of embeddings, for instance: modality-gap measure mine.npz")
        for path in self.embeddings:
            for found in measure_all(Stored.open(path), self.seed):
                told = {"embeddings": str(path), **asdict(found)}
                cli.say(json.dumps(told) if self.as_json else _as_text(path, found))


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Move the first modality and the last along their gap vector and save the result."""

    embeddings: Annotated[Path, tyro.conf.Positional]
    """A .npy, .npz or .safetensors file."""
    amount: float
    """The paper's delta: positive closes the gap, negative widens it."""
    output: Path
    """Where to write; the suffix names the format."""
    side: Side = "both"
    """both: half each, as in Figure 3; first: the first modality all of it, as in Table 2."""

    def __call__(self) -> None:
        before = Embeddings.load(self.embeddings)
        first, last = before.names[0], before.names[-1]
        x, y = before.modalities[first], before.modalities[last]
        moved = dict(zip((first, last), shift(x, y, self.amount, side=self.side), strict=True))
        unpaired = np.empty((0, len(before.names)), np.int64)
        source = {**before.source, "shift": {"amount": self.amount, "side": self.side, "along": f"{first} - {last}"}}
        after = Embeddings.of(
            {**before.modalities, **moved}, unpaired if before.pairs is None else before.pairs, before.labels, source
        )
        after.save(self.output)
        gaps = gap_distance(x, y), gap_distance(moved[first], moved[last])
        cli.say(f"gap distance {gaps[0]:.4f} -> {gaps[1]:.4f}; wrote {self.output}")


@dataclass(frozen=True, kw_only=True)
class Published:
    """Fetch the authors' eight embedding files into the cache folder (MODALITY_GAP_DATA)."""

    keep_going: bool = False
    """Exit with 0 although files are missing: each is named."""

    def __call__(self) -> None:
        missing = published.fetch_all(say=cli.say)
        if missing and not self.keep_going:
            raise UserError(f"{len(missing)} of the published files are missing: {', '.join(missing)}")


@dataclass(frozen=True, kw_only=True)
class Report:
    """Build report.html from the records in a folder."""

    outputs: Path = cli.OUTPUTS
    """The folder that holds one folder of records for each figure or table."""

    def __call__(self) -> None:
        cli.say(f"[report] wrote {report.write(self.outputs)}")


@dataclass(frozen=True, kw_only=True)
class Notebooks:
    """Execute the notebooks on the records in a folder."""

    outputs: Path = cli.OUTPUTS
    """The folder that holds one folder of records for each figure or table."""

    def __call__(self) -> None:
        from util import notebooks

        for path in notebooks.execute_all(self.outputs):
            cli.say(f"[notebooks] wrote {path}")


@dataclass(frozen=True, kw_only=True)
class Results:
    """Copy the small records into the folders' results/; regenerate the README tables and the committed notebooks."""

    outputs: Path = cli.OUTPUTS
    """The folder that holds one folder of records for each figure or table."""

    def __call__(self) -> None:
        for line in readme.publish_results(self.outputs):
            cli.say(f"[results] {line}")
        from util import notebooks

        for path in notebooks.refresh_committed():
            cli.say(f"[results] executed {path.relative_to(records.REPOSITORY)}")


@dataclass(frozen=True, kw_only=True)
class TrainSmallClip:
    """Train the embedded model again, from the seeds that made the one that ships."""

    output: Path = cli.OUTPUTS / "small_clip"
    """Folder for the checkpoint and its record."""
    seed: int = 0
    """Seed of the weights, the corpus and the order of the data."""

    def __call__(self) -> None:
        from util.encoders.small_clip_training import train_small_clip

        train_small_clip(self.output, seed=self.seed)


COMMANDS = {
    "measure": Measure,
    "shift": Shift,
    "published": Published,
    "report": Report,
    "notebooks": Notebooks,
    "results": Results,
    "train-small-clip": TrainSmallClip,
}


def _as_text(path: Path, found: Measures) -> str:
    other, text = found.modalities
    matched, relative = ("not paired" if v is None else f"{v:.4f}" for v in (found.matched_cosine, found.relative_gap))
    return (
        f"{path}: {other} ({found.n_other} x {found.dim}) and {text} ({found.n_text} x {found.dim})\n"
        f"  gap distance           {found.gap_distance:.4f}\n"
        f"  matched cosine         {matched}\n"
        f"  mean cosine            {other} {found.mean_cosine_other:.4f}, {text} {found.mean_cosine_text:.4f}\n"
        f"  relative gap (RMG)     {relative}\n"
        f"  linear separability    {found.separability:.4f} (held out, {found.separability_rows} rows of each)"
    )


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``modality-gap``."""

    def work() -> None:
        chosen = tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="modality-gap",
            description="Measure, explain and shift the modality gap.",
            args=arguments,
            config=(tyro.conf.OmitArgPrefixes,),
        )
        chosen()

    cli.run(work)
