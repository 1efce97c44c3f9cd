"""The console command: ``modality-gap`` or ``python -m util``."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from . import cli
from .embeddings import open_sets
from .errors import UserError
from .files import REPOSITORY
from .interventions.commands import Fit, OfFiles, Shift, Transform
from .measures.commands import Compare, Measure, Merge
from .reporting.steps import FOLDERS, Figures, Paper
from .zero_shot.evaluation import Evaluate


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
    umap: Literal["auto", "yes", "no"] = "auto"
    """Lay the rows out by UMAP too; auto does up to 5,000 pairs."""
    export: Path | None = None
    """Write a .parquet too: vector, projection_x, projection_y, modality and pair of every row, for other tools."""
    seed: int = 0
    """Seed of UMAP and of samples."""
    ONLY: ClassVar = (
        cli.Only("columns output labels prompts umap export seed", "files of embeddings", lambda own: own.embeddings),
        cli.Only("outputs", "records", lambda own: not own.embeddings),
    )

    def __call__(self) -> None:
        from . import explorer
        from .reporting import comparisons

        if not self.embeddings:
            return cli.say(f"[report] wrote {cli.on_terminal(comparisons.write_report(self.outputs))}")
        sets = open_sets(self.embeddings, cli.named_columns(self.columns))
        if self.labels or self.prompts:
            from .zero_shot.tasks import of_classes

            sets = {name: of_classes(one, self.labels, None, self.prompts) for name, one in sets.items()}
        sets = explorer.sets_of((sets,))
        umap = {"yes": True, "no": False}.get(self.umap)
        page = explorer.report(sets, output=self.output, umap=umap, seed=self.seed)
        cli.say(f"wrote {cli.on_terminal(self.output)} ({len(page.html.encode()) / 1e6:.1f} MB): open it in a browser")
        if self.export:
            explorer.export(sets, self.export)
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
