"""What an audit is made of: embeddings of faces and prompts, labels, and the captions whose gap vector is followed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

import published_counts
from util import geometry
from util.cli import Common, Only
from util.embeddings import Embeddings
from util.errors import UserError
from util.fairness import faces as face_images
from util.fairness.audit import Answers, Faces
from util.fairness.declared import BADGES, FAIRFACE, Declared
from util.files import sha256
from util.geometry import Side
from util.published import values
from util.zero_shot.shifted import predict

Direction = Literal["captions", "audit"]
GAPS = {"captions": "caption_gap_distance", "audit": "audit_gap_distance"}
"""Whose gap vector a shift follows, and the column of the gap of those embeddings."""

PAPER_MODEL, PAPER_PAIRS = "open_clip:ViT-B-32:openai", values()["figure_2c"]["n_inputs"]
PAPER_FACES = int(published_counts.sizes().sum())
"""What the published numbers were measured with: model, faces of FairFace's validation split, pairs of MSCOCO."""

OPTIONS = {
    "embeddings of your own": "embeddings labels corpus",
    "generated badges": "badges scenes",
    "photographed faces": "data model coco",
}
"""By what is audited: the options that only it reads."""
ONLY = tuple(Only(names, kind, lambda chosen, kind=kind: kind_of(chosen) == kind) for kind, names in OPTIONS.items())


@dataclass(frozen=True)
class Audited:
    """Everything that an audit is measured on: unit-norm rows of faces and prompts, and the labels of the faces.

    Attributes:
        captioned: images (p, d) and captions (p, d) whose gap vector may be followed, or None.
        data: one mapping for each input, for the record.
        as_published: whether model, faces, prompts and what is shifted are the paper's.
    """

    title: str
    images: Float[np.ndarray, "n d"]
    prompts: Float[np.ndarray, "C d"]
    faces: Faces
    captioned: tuple[np.ndarray, np.ndarray] | None
    data: tuple[Mapping, ...] = ()
    as_published: bool = False

    @cached_property
    def pairs(self) -> Mapping[Direction, tuple[np.ndarray, np.ndarray]]:
        """The embeddings whose gap vectors a shift may follow."""
        pairs = {"captions": self.captioned, "audit": (self.images, self.prompts)}
        return {name: pair for name, pair in pairs.items() if pair is not None}

    @cached_property
    def directions(self) -> Mapping[Direction, Float[np.ndarray, "d"]]:
        """Their unit gap vectors."""
        return {name: geometry.unit_gap_vector(*pair) for name, pair in self.pairs.items()}

    def shifted(self, shifts: Float[np.ndarray, "k"], name: Direction, side: Side) -> tuple[Answers, pd.DataFrame]:
        """Classes after shifts along one direction; and harm, accuracy and both signed gap distances at every shift.

        A gap distance has the sign of its projection on its own unit gap vector before the shift, or is NaN.
        """
        along = self.directions[name]
        table = pd.DataFrame({"shift": shifts, **dict.fromkeys(GAPS.values(), np.nan)})
        for key, pair in self.pairs.items():
            sign_by = self.directions[key]
            table[GAPS[key]] = geometry.signed_gap_distances(*pair, shifts, along, side, sign_by=sign_by)
        answers = Answers(predict(self.images, self.prompts, shifts, along, side), self.faces, shifts)
        table["harm"], table["accuracy"] = answers.harmed.mean(1), answers.right.mean(1)
        return answers, table


def kind_of(settings: Common) -> str:
    """What the settings have audited: a key of ``OPTIONS``."""
    if settings.embeddings is not None:
        return "embeddings of your own"
    return "photographed faces" if settings.preset == "paper" or settings.data is not None else "generated badges"


def collect(settings: Common, device: str) -> Audited:
    """The inputs that the settings name: your own embeddings, generated badges, or faces."""
    makers = dict(zip(OPTIONS, (own, generated, photographed), strict=True))
    audited = makers[kind_of(settings)](settings, device)
    if settings.gap_direction not in audited.pairs:
        what = "--gap-direction captions follows the gap vector of captions and their images, which are not there"
        raise UserError(f"{what}; name them with --corpus FILE, or follow the audit's own: --gap-direction audit")
    return audited


def generated(settings: Common, device: str) -> Audited:
    """Badges that stand for nobody, and the small CLIP; the captions are those of generated scenes."""
    from util.corpora.generated import pictures
    from util.encoders import small_clip
    from util.encoders.small_clip_evaluation import TEST_SEED

    declared, seed = Declared.read(settings.audit or BADGES), TEST_SEED + settings.seed
    badges = pictures.badges(settings.badges, seed, group_weights=None)
    names = (pictures.GROUPS, badges.attributes["group"]), (pictures.KINDS, badges.attributes["badge_kind"])
    labels = [[words[code] for code in codes] for words, codes in names]
    faces = Faces.of(declared, *labels, where="the generated badges")
    scenes = pictures.scenes(settings.scenes, seed, split="all")
    clip = small_clip.load(device=device)
    model = {"model": "small CLIP, util/data/small_clip.safetensors", "sha256": sha256(small_clip.CHECKPOINT)}
    corpus = "generated {} (util.corpora.generated.pictures), never trained on"
    data = (
        {"what": "faces", "dataset": corpus.format("badges"), "groups": "equal numbers", "n": settings.badges},
        {"what": "captions", "dataset": corpus.format("scenes"), "split": "all", "n": settings.scenes},
        {"what": "classes", **declared.settings},
    )
    return Audited(
        "small CLIP, generated badges",
        clip.encode_images(badges.images),
        clip.encode_texts(declared.prompts),
        faces,
        (clip.encode_images(scenes.images), clip.encode_texts(scenes.captions)),
        tuple({**part, **model, "seed": seed} for part in data),
    )


def photographed(settings: Common, device: str) -> Audited:
    """Faces of a folder or of FairFace, a model, and the captions of MSCOCO val2017."""
    from util.corpora import coco
    from util.encoders.named import Named
    from util.extraction import class_embeddings, embed_images, extract

    declared = Declared.read(settings.audit or FAIRFACE)
    found = face_images.from_folder(settings.data, declared) if settings.data else face_images.from_hub(declared)
    captioned = coco.load(settings.coco, "val2017", "first")
    pair = Named.parse(settings.model).pair(device=device)
    rows, read, skipped = embed_images(pair, found.openers, found.ids, found.source)
    followed = extract(pair, captioned)
    data = (
        {"what": "faces", **found.source, "n": len(read), "skipped": skipped, "model": pair.describe()},
        {"what": "captions", **followed.source},
        {"what": "classes", **declared.settings},
    )
    measured = (settings.model, declared, len(read), len(captioned), settings.side, settings.gap_direction)
    return Audited(
        f"{pair.name}, {found.source['dataset']}",
        rows,
        class_embeddings(pair, [[prompt] for prompt in declared.prompts]),
        found.faces.take(read),
        followed.paired(),
        data,
        measured == (PAPER_MODEL, Declared.read(FAIRFACE), PAPER_FACES, PAPER_PAIRS, "first", "captions"),
    )


def own(settings: Common, device: str) -> Audited:
    """Embeddings that you have: faces and prompts in one file, labels in a table, captions in another file."""
    if settings.labels is None:
        raise UserError("--embeddings needs --labels FILE.csv: a row for each face, columns race, gender")
    declared, path = Declared.read(settings.audit or FAIRFACE), settings.embeddings
    given, wanted = Embeddings.load(path), len(declared.prompts)
    if given.names != ("image", "text"):
        raise UserError(f"{path}: expected image (n, d) and text (C, d); found {', '.join(given.names)}")
    images, prompts = given.modalities.values()
    if len(prompts) != wanted:
        what = f"text has {len(prompts)} rows, but {wanted} prompts are declared"
        raise UserError(f"{path}: {what}; embed those in their order, or name your own with --audit FILE.toml")
    faces, digest = face_images.labels_of(settings.labels, declared)
    if len(faces) != len(images):
        what = f"{len(faces)} rows, but image of {path} has {len(images)}"
        raise UserError(f"{settings.labels} has {what}; write a row for each")
    data = [{**_of_file("faces", given, path), "n": len(images)}]
    data += [{"what": "labels", "path": str(settings.labels), "sha256": digest}]
    data += [{"what": "classes", **declared.settings}]
    captioned = None
    if settings.corpus is not None:
        corpus = Embeddings.load(settings.corpus)
        captioned = corpus.paired()
        data.append(_of_file("captions", corpus, settings.corpus))
    return Audited(path.stem, images, prompts, faces, captioned, tuple(data))


def _of_file(what: str, found: Embeddings, path: Path) -> dict:
    return {"what": what, **found.source, **found.digest()}
