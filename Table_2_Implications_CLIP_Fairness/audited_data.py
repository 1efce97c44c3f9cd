"""What an audit is made of: embeddings of faces and prompts, labels, and the captions whose gap vector is followed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

import labelled_faces
import published_counts
from declared_audit import FAIRFACE, Declared
from util import UserError, geometry
from util.cli import Common, Only, named_columns
from util.embeddings import Embeddings, load_sets
from util.fairness.audit import Answers
from util.files import PACKAGE, sha256
from util.geometry import Side
from util.published import values
from util.readers import TEXT, role
from util.readers.meaning import keys_of
from util.zero_shot.shifted import predict

Direction = Literal["captions", "audit"]
BADGES = PACKAGE / "data" / "badges.toml"
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
    """What an audit is measured on: unit-norm rows of faces and prompts, and the faces' labels (``Declared.faces``).

    The gap vector of ``captioned``, images (p, d) and captions (p, d), may be followed. ``data`` is for the record, and
    ``names`` are what pictures call faces and prompts, ``ids`` (n,) what your own faces are called. ``as_published``:
    model, faces, prompts and what is shifted are the paper's. ``notes`` are for whoever reads the numbers.
    """

    title: str
    images: Float[np.ndarray, "n d"]
    prompts: Float[np.ndarray, "C d"]
    declared: Declared
    faces: pd.DataFrame
    captioned: tuple[np.ndarray, np.ndarray] | None
    data: tuple[Mapping, ...] = ()
    as_published: bool = False
    names: tuple[str, str] = ("images", "prompts")
    ids: Sequence[str] | None = None
    notes: tuple[str, ...] = ()

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
        answers = Answers(self.declared, self.faces, predict(self.images, self.prompts, shifts, along, side), shifts)
        table["harm"], table["accuracy"] = answers.harmed.mean(1), answers.right.mean(1)
        return answers, table


def kind_of(settings: Common) -> str:
    """What the settings have audited: a key of ``OPTIONS``."""
    if settings.embeddings:
        return "embeddings of your own"
    return "photographed faces" if settings.preset == "paper" or settings.data is not None else "generated badges"


def file_of(settings: Common) -> Path:
    """The audit that the settings name, or that of their kind of data."""
    return settings.audit or (BADGES if kind_of(settings) == "generated badges" else FAIRFACE)


def declared_by(settings: Common) -> Declared:
    """The same, read."""
    return Declared.read(file_of(settings))


def classes(settings: Common) -> dict:
    """All of the audit that a result depends on, as plain values for the record."""
    declared = declared_by(settings)
    also = {"sha256": sha256(file_of(settings)), "prompts": list(declared.prompts), "harms": list(declared.harms)}
    return {"what": "classes", **declared.model_dump(by_alias=True), **also}


def labels(declared: Declared) -> dict[str, str]:
    """What pictures and tables call each harm group, in the order of ``Declared.groups``."""
    return {name: declared.harm.labels.get(name, name.replace("_", " ")) for name in declared.groups}


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

    declared, seed = declared_by(settings), pictures.TEST_SEED + settings.seed
    badges = pictures.badges(settings.badges, seed, group_weights=None)
    levels = {"group": pictures.GROUPS, "badge_kind": pictures.KINDS}
    labels = [np.array(words)[badges.attributes[name]] for name, words in levels.items()]
    faces = declared.faces(dict(zip(declared.asked.axes, labels, strict=True)), "the generated badges")
    scenes = pictures.scenes(settings.scenes, seed, split="all")
    clip = small_clip.load(device=device)
    model = {"model": "small CLIP, util/data/small_clip.safetensors", "sha256": sha256(small_clip.CHECKPOINT)}
    corpus = "generated {} (util.corpora.generated.pictures), never trained on"
    data = (
        {"what": "faces", "dataset": corpus.format("badges"), "groups": "equal numbers", "n": settings.badges},
        {"what": "captions", "dataset": corpus.format("scenes"), "split": "all", "n": settings.scenes},
    )
    data = tuple({**part, **model, "seed": seed} for part in data)
    rows = clip.non_text.encode(badges.images), clip.text.encode(declared.prompts)
    captioned = clip.non_text.encode(scenes.images), clip.text.encode(scenes.captions)
    return Audited("small CLIP, generated badges", *rows, declared, faces, captioned, data)


def photographed(settings: Common, device: str) -> Audited:
    """Faces of a folder or of FairFace, a model, and the captions of MSCOCO val2017.

    Beside a folder these are read where the shift follows them, or where --coco names them.
    """
    from util.corpora import tasks
    from util.encoders.named import Named
    from util.extraction import class_embeddings, embed_images, extract

    declared, named = declared_by(settings), Named.parse(settings.model).trained()
    found = labelled_faces.from_folder(settings.data, declared) if settings.data else labelled_faces.from_hub(declared)
    asked_for = settings.preset == "paper" or settings.gap_direction == "captions" or settings.coco is not None
    captioned = tasks.mscoco(settings.coco, "val2017", "first") if asked_for else None
    pair = named.pair(device=device)
    rows, read, skipped = embed_images(pair, found)
    followed = None if captioned is None else extract(pair, captioned)
    data = [{"what": "faces", **found.source, "n": len(read), "skipped": skipped, "model": pair.settings}]
    data += [] if followed is None else [{"what": "captions", **followed.source}]
    pairs = len(captioned or ())
    measured = (settings.model, declared, len(read), pairs, settings.side, settings.gap_direction)
    papers = measured == (PAPER_MODEL, Declared.read(FAIRFACE), PAPER_FACES, PAPER_PAIRS, "first", "captions")
    prompts = class_embeddings(pair, [[prompt] for prompt in declared.prompts])
    captioned = None if followed is None else followed.paired()
    ids = None if settings.data is None else [found.ids[row] for row in read]
    title, faces = f"{pair.name}, {found.source['dataset']}", found.faces.iloc[read]
    return Audited(title, rows, prompts, declared, faces, captioned, tuple(data), papers, ids=ids)


def own(settings: Common, device: str) -> Audited:
    """Embeddings that you have: faces and prompts, labels in a table, captions in other files."""
    declared = declared_by(settings)
    if settings.labels is None:
        axes = ", ".join(declared.asked.axes)
        raise UserError(f"--embeddings needs --labels FILE: a row for each face, columns {axes} (and id or file)")
    sets = load_sets(settings.embeddings, named_columns(settings.columns), two=False)
    if len(sets) > 1:
        raise UserError(f"--embeddings: {', '.join(sets)} are {len(sets)} sets; an audit takes faces and prompts, once")
    ((title, given),) = sets.items()
    if [role(name) == TEXT for name in given.two()] != [False, True]:
        what = f"{given.source['path']}: which of {' and '.join(given.names)} are the prompts cannot be told by name"
        raise UserError(f"{what}; name them, for instance --columns image=COLUMN text=COLUMN")
    path, first = given.source["path"], given.names[0]
    images, (prompts, how_prompts) = given.modalities[first], in_declared_order(declared, given)
    where = f"{first} of {path}"
    faces, how_faces = labelled_faces.labels_of(settings.labels, declared, given.beside, len(images), where)
    labels = {"path": str(settings.labels), "sha256": sha256(settings.labels), "matched": how_faces[-1]}
    data = [{"what": "faces", **given.source, "n": len(images)}, {"what": "labels", **labels}]
    notes = [*given.source.get("notes", ()), *how_prompts, *how_faces]
    if given.labels is not None:
        notes.append(f"{path}: labels in it are not used, those of {settings.labels} are")
    captioned = None
    if settings.corpus:
        corpus = Embeddings.load(*settings.corpus)
        captioned = corpus.paired()
        if corpus.dim != given.dim:
            what = f"{corpus.source['path']}: rows of {corpus.dim} numbers, but those of {path} have {given.dim}"
            raise UserError(f"{what}; embed faces and captions with one model")
        data.append({"what": "captions", **corpus.source, **corpus.digest()})
        notes += corpus.source.get("notes", ())
    keys = keys_of(given.beside, len(images))
    ids = keys.get("paths", keys.get("ids"))
    return Audited(
        title, images, prompts, declared, faces, captioned, tuple(data), names=given.names, ids=ids, notes=tuple(notes)
    )


def in_declared_order(declared: Declared, given: Embeddings) -> tuple[Float[np.ndarray, "C d"], list[str]]:
    """The prompts in the order of the audit, known by their texts where those stand beside them; and what is to say."""
    path, name = given.source["path"], given.names[-1]
    prompts, wanted, texts = given.modalities[name], declared.prompts, given.beside.get("captions", ())
    if len(prompts) != len(wanted):
        what = f"{name} has {len(prompts)} rows, but {len(wanted)} prompts are declared"
        how = "embed those of declared_audit.Declared.read(AUDIT).prompts, in their order"
        raise UserError(f"{path}: {what}; {how}, or name your own with --audit FILE.toml")
    if len(texts) != len(wanted):
        return prompts, [f"prompts are taken in the declared order: {wanted[0]!r} first, {wanted[-1]!r} last"]
    place = {str(text): row for row, text in enumerate(texts)}
    if lost := [each for each in wanted if each not in place]:
        what = f"{len(lost)} declared prompts are not among the texts beside {name}, first {lost[0]!r}"
        raise UserError(f"{path}: {what}; there is {texts[0]!r}")
    return prompts[[place[each] for each in wanted]], []
