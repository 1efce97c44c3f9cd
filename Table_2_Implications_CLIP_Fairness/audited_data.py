"""What an audit is made of: embeddings of faces and prompts, labels, and the captions whose gap vector is followed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from jaxtyping import Float

import published_counts as published
from util import geometry
from util.embeddings import Embeddings
from util.errors import UserError
from util.fairness.audit import Faces
from util.fairness.declared import BADGES, FAIRFACE, Declared
from util.files import sha256
from util.geometry import Side
from util.published import values

Direction = Literal["captions", "audit"]
GAPS = {"captions": "caption_gap_distance", "audit": "audit_gap_distance"}
"""Whose gap vector a shift follows, and the column of the gap of those embeddings."""

PAPER_MODEL, PAPER_FACES, PAPER_PAIRS = "ViT-B-32:openai", published.n_faces(), values()["figure_2c"]["n_inputs"]
"""What the published numbers were measured with: model, faces of FairFace's validation split, pairs of MSCOCO."""

Kind = Literal["embeddings of your own", "generated badges", "photographed faces"]
OPTIONS: Mapping[Kind, tuple[str, ...]] = {
    "embeddings of your own": ("embeddings", "labels", "corpus"),
    "generated badges": ("badges", "scenes"),
    "photographed faces": ("data", "padding", "faces", "model", "precision", "coco", "caption"),
}
"""By what is audited: the options that only it reads."""


class Options(Protocol):
    """What is read of the script's settings."""

    preset: str
    by_age: bool
    side: Side
    gap_direction: Direction
    device: str
    precision: str
    seed: int
    audit: Path | None
    badges: int
    scenes: int
    data: Path | None
    padding: Literal["0.25", "1.25"]
    faces: int | None
    model: str
    coco: Path | None
    caption: Literal["first", "last"]
    embeddings: Path | None
    labels: Path | None
    corpus: Path | None


@dataclass(frozen=True)
class Audited:
    """Everything that an audit is measured on.

    Attributes:
        title: model and faces in words.
        note: what stands on the face of its pictures: the caution of what is declared.
        images: (n, d), unit-norm rows, one for each face.
        prompts: (C, d), unit-norm rows, in the order of ``declared.prompts``.
        faces: n labels.
        declared: classes and harm groups.
        captioned: images (p, d) and captions (p, d) whose gap vector may be followed, or None.
        data: one mapping for each input, for the record.
        as_published: whether model, faces, prompts and what is shifted are the paper's. Free are the padding and the
            caption of a photograph, which the paper does not say.
        training_share: of the generated badges, each group's share of the training badges.
        what: that which has a race and a gender: faces or badges.
    """

    title: str
    note: str
    images: Float[np.ndarray, "n d"]
    prompts: Float[np.ndarray, "C d"]
    faces: Faces
    declared: Declared
    captioned: tuple[np.ndarray, np.ndarray] | None
    data: tuple[Mapping, ...]
    as_published: bool = False
    training_share: Mapping[str, float] | None = None
    what: str = "faces"

    @cached_property
    def directions(self) -> Mapping[Direction, Float[np.ndarray, "d"]]:
        """The unit gap vectors that a shift may follow: of images and captions, if any, and of faces and prompts."""
        pairs = {"captions": self.captioned, "audit": (self.images, self.prompts)}
        return {name: geometry.unit_gap_vector(*pair) for name, pair in pairs.items() if pair is not None}

    def gaps(self, shifts: Float[np.ndarray, "k"], name: Direction, side: Side) -> pd.DataFrame:
        """Both signed gap distances after each shift along one direction; of captions NaN where there are none.

        Each has the sign of its projection on its own unit gap vector before the shift.
        """
        pairs = {"captions": self.captioned, "audit": (self.images, self.prompts)}
        found = {"shift": shifts, **dict.fromkeys(GAPS.values(), np.nan)}
        for key, own in self.directions.items():
            along = self.directions[name]
            found[GAPS[key]] = geometry.signed_gap_distances(*pairs[key], shifts, along, side, sign_by=own)
        return pd.DataFrame(found)


def kind_of(options: Options) -> Kind:
    """What the options have audited."""
    if options.embeddings is not None:
        return "embeddings of your own"
    return "photographed faces" if options.preset == "paper" or options.data is not None else "generated badges"


def refuse_unused(options: Options, default: Options) -> None:
    """
    Raises:
        UserError: an option that is not as in ``default`` and is not read with the others.
    """
    chosen = kind_of(options)
    unused = [(kind, name) for kind, names in OPTIONS.items() if kind != chosen for name in names]
    if chosen == "photographed faces" and options.data is not None:
        chosen = "a folder of faces"
        unused.append(("the hub's FairFace", "padding"))
    for kind, name in unused:
        if getattr(options, name) != getattr(default, name):
            raise UserError(f"--{name} is read of {kind} only, and this run is of {chosen}; leave it out")


def collect(options: Options, device: str) -> Audited:
    """The inputs that the options name: one's own embeddings, generated badges, or faces.

    Raises:
        UserError: data that cannot be had, or do not fit together.
    """
    chosen = kind_of(options)
    if chosen == "generated badges":
        return generated(options, device)
    return own(options) if chosen == "embeddings of your own" else photographed(options)


def check(audited: Audited, direction: Direction, by_age: bool) -> None:
    """
    Raises:
        UserError: the inputs lack the captions whose gap vector is to be followed, or the ages to count by.
    """
    if direction not in audited.directions:
        raise UserError(
            "--gap-direction captions follows the gap vector of captions and their images, which these embeddings "
            "lack; name them with --corpus FILE, or follow the audit's own with --gap-direction audit"
        )
    if by_age and audited.faces.age is None:
        raise UserError("--by-age: these labels have no age, or no ages are declared")


def generated(options: Options, device: str) -> Audited:
    """Badges that stand for nobody, and the small CLIP; the captions are those of generated scenes."""
    from util.corpora.generated import pictures
    from util.encoders import small_clip
    from util.encoders.small_clip_evaluation import TEST_SEED

    declared, seed = Declared.read(options.audit or BADGES), TEST_SEED + options.seed
    badges = pictures.badges(options.badges, seed, group_weights=None)
    names = {"race": ("group", pictures.GROUPS), "gender": ("badge_kind", pictures.KINDS)}
    labels = {axis: [levels[code] for code in badges.attributes[key]] for axis, (key, levels) in names.items()}
    faces = Faces.of(declared, **labels, where="the generated badges")
    scenes = pictures.scenes(options.scenes, seed, split="all")
    clip = small_clip.load(device=device)
    model = {"model": "small CLIP, util/data/small_clip.safetensors", "sha256": sha256(small_clip.CHECKPOINT)}
    of = "generated {} (util.corpora.generated.pictures), never trained on"
    data = (
        {"what": "faces", "dataset": of.format("badges"), "groups": "equal numbers", "n": options.badges, "seed": seed},
        {"what": "captions", "dataset": of.format("scenes"), "split": "all", "n": options.scenes, "seed": seed},
        {"what": "classes", **declared.settings},
    )
    return Audited(
        "small CLIP, generated badges",
        f"{declared.caution} The words: {words_of(declared)}.",
        clip.encode_images(badges.images),
        clip.encode_texts(declared.prompts),
        faces,
        declared,
        (clip.encode_images(scenes.images), clip.encode_texts(scenes.captions)),
        tuple({**part, **model} for part in data),
        training_share=dict(zip(pictures.GROUPS, map(float, pictures.GROUP_WEIGHTS), strict=True)),
        what="badges",
    )


def words_of(declared: Declared) -> str:
    """The harm words by their groups, for a reader."""
    groups = declared.harm_groups.items()
    return "; ".join(f"{', '.join(each.word for each in words)} ({name.replace('_', '-')})" for name, words in groups)


def photographed(options: Options) -> Audited:
    """Faces of a folder or of FairFace, an open_clip model, and the captions of MSCOCO val2017."""
    import faces as corpus
    from util.corpora import coco
    from util.encoders import open_clip_pair
    from util.encoders.named import Named
    from util.extraction import class_embeddings, embed_images, extract

    declared, named = Declared.read(options.audit or FAIRFACE), Named.parse(f"open_clip:{options.model}")
    if named.tag is None:
        raise UserError(f"--model {options.model}: say which weights, for instance {PAPER_MODEL}, or a checkpoint file")
    found = corpus.load(options.data, declared, options.padding, options.faces, aged=options.by_age)
    captioned = coco.load(options.coco, "val2017", options.caption)
    pair = open_clip_pair.load(named.name, named.tag, device=options.device, precision=options.precision)
    rows, kept, skipped = embed_images(pair, found.openers, found.ids, found.source)
    followed = extract(pair, captioned)
    facts = {"n": len(kept), "skipped": skipped, "model": pair.describe()}
    data = (
        {"what": "faces", **found.source, **facts},
        {"what": "captions", **followed.source},
        {"what": "classes", **declared.settings},
    )
    paper = declared.sha256 == sha256(FAIRFACE) and options.model == PAPER_MODEL
    paper = paper and (len(kept), len(captioned)) == (PAPER_FACES, PAPER_PAIRS)
    paper = paper and (options.side, options.gap_direction) == ("first", "captions")
    return Audited(
        f"{pair.name}, {found.source['dataset']}",
        declared.caution,
        rows,
        class_embeddings(pair, [[prompt] for prompt in declared.prompts]),
        found.faces.take(kept),
        declared,
        followed.paired(),
        data,
        paper,
    )


def own(options: Options) -> Audited:
    """Embeddings that somebody has: faces and prompts in one file, labels in a table, captions in another file.

    Raises:
        UserError: a file that cannot be read; prompts or labels of another number than classes or faces.
    """
    import faces as corpus

    if options.labels is None:
        raise UserError("--embeddings needs --labels FILE.csv: a row for each face, columns race, gender, perhaps age")
    declared = Declared.read(options.audit or FAIRFACE)
    given = Embeddings.load(options.embeddings)
    if given.names != ("image", "text"):
        raise UserError(f"{options.embeddings}: expected image (n, d) and text (C, d); found {', '.join(given.names)}")
    images, prompts = (given.modalities[name] for name in given.names)
    if len(prompts) != len(declared.prompts):
        raise UserError(
            f"{options.embeddings}: text has {len(prompts)} rows, but {len(declared.prompts)} prompts are declared; "
            "embed exactly those, in their order, or name your own with --audit FILE.toml"
        )
    faces, digest = corpus.labels_of(options.labels, declared, aged=options.by_age)
    if len(faces) != len(images):
        raise UserError(
            f"{options.labels} has {len(faces)} rows, but image of {options.embeddings} has {len(images)}; a row each"
        )
    captioned = None if options.corpus is None else Embeddings.load(options.corpus)
    data = [
        {"what": "faces", **given.source, "sha256": sha256(options.embeddings), "n": len(images)},
        {"what": "labels", "path": str(options.labels), "sha256": digest},
        {"what": "classes", **declared.settings},
    ]
    if captioned is not None:
        data.append({"what": "captions", **captioned.source, "sha256": sha256(options.corpus)})
    pair = None if captioned is None else captioned.paired()
    return Audited(options.embeddings.stem, declared.caution, images, prompts, faces, declared, pair, tuple(data))
