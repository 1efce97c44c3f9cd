"""Asks where each resource is, how large it is, and whether it has the columns that are read, without fetching it.

Sizes and columns come from the hub's description of a revision; where a data set's card does not list its columns,
from the last few kilobytes of one of its parquet files. Without a network the caches on disk are looked at, and
whatever is not whole there is named.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from .. import published
from ..errors import UserError
from .paper_needs import Resource

if TYPE_CHECKING:
    from huggingface_hub import DatasetInfo, HfApi, ModelInfo

TIMEOUT_SECONDS = 20.0
"""How long the hub, or a server, may take to answer a question."""
NO_ENCODING = {"Accept-Encoding": "identity"}
"""So that a server says how large a file is, and not how large it is when compressed."""


@dataclass(frozen=True)
class Resolved:
    """What is known of a resource.

    Attributes:
        resource: which one.
        problem: why it could not be resolved, or what it lacks; "" where it can be used.
        revision: what its revision is now, where it was asked for.
        total: bytes of its files; None where not known.
        here: how many of those are on this machine already.
        rows: of its split; None where not known.
        licence: as the hub says, else as declared.
    """

    resource: Resource
    problem: str = ""
    revision: str = ""
    total: int | None = None
    here: int = 0
    rows: int | None = None
    licence: str = ""

    @property
    def size(self) -> int | None:
        """Bytes of its files, as declared where nobody could be asked."""
        return self.resource.size if self.total is None else self.total

    @property
    def to_fetch(self) -> int:
        """Bytes that are not here yet, as far as is known."""
        return max(0, (self.size or 0) - self.here)


@dataclass
class Asker:
    """Asks each server once whether it answers at all.

    Attributes:
        endpoint: of the hub; None: the usual one (HF_ENDPOINT).
    """

    endpoint: str | None = None
    answers: dict[str, bool] = field(default_factory=dict)

    def reaches(self, url: str) -> bool:
        """Whether the server of an address answers within a few seconds."""
        host = "{0.scheme}://{0.netloc}/".format(urlsplit(url))
        if host not in self.answers:
            self.answers[host] = published.reachable(host)
        return self.answers[host]

    def hub(self) -> str | None:
        """The hub's address; None where it must not be asked or does not answer."""
        from huggingface_hub import constants

        address = self.endpoint or constants.ENDPOINT
        return address if not constants.HF_HUB_OFFLINE and self.reaches(address) else None


def resolve(resource: Resource, asker: Asker) -> Resolved:
    """What is known of one resource; never raises for what a server says or does not say."""
    if resource.problem:
        return Resolved(resource, resource.problem, licence=resource.licence)
    try:
        return {"folder": _folder, "file": _file}.get(resource.kind, _repository)(resource, asker)
    except Exception as error:  # the hub's client, requests and pyarrow raise errors of many kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return Resolved(resource, f"could not be asked for: {reason}", licence=resource.licence)


def _folder(resource: Resource, asker: Asker) -> Resolved:
    """A local folder: what must be inside, and how much there is of it."""
    folder = Path(resource.id)
    missing = [part for part in resource.choices[0] if next(folder.glob(part), None) is None]
    if missing:
        where = f"not in {folder}" if folder.is_dir() else "no such folder here"
        return Resolved(resource, f"{where}: {', '.join(missing)}", licence=resource.licence)
    paths = [path for part in resource.choices[0] for path in folder.glob(part) if path.is_file()]
    total = sum(path.stat().st_size for path in paths)
    rows = sum(path.parent.name == resource.split for path in paths) or None
    return Resolved(resource, total=total, here=total, rows=rows, licence=resource.licence)


def _file(resource: Resource, asker: Asker) -> Resolved:
    """A file by its address: its size by a HEAD request."""
    name = urlsplit(resource.id).path.rsplit("/", 1)[-1]
    if (here := _file_here(name)) is not None:
        return Resolved(resource, total=here, here=here, licence=resource.licence)
    if not asker.reaches(resource.id):
        return Resolved(resource, f"no connection to {urlsplit(resource.id).netloc}", licence=resource.licence)
    answer = requests.head(resource.id, headers=NO_ENCODING, allow_redirects=True, timeout=TIMEOUT_SECONDS)
    answer.raise_for_status()
    size = answer.headers.get("Content-Length")
    return Resolved(resource, total=int(size) if size else None, licence=resource.licence)


def _file_here(name: str) -> int | None:
    """The size of a file that is in its cache, checked where its hash is known; None where it is not there."""
    import torch

    known = published.files()
    if name in known:
        whole = known[name] in published.available()
        return (published.cache_folder() / name).stat().st_size if whole else None
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    return path.stat().st_size if path.is_file() else None


def _repository(resource: Resource, asker: Asker) -> Resolved:
    """A repository of the hub: its files, sizes, columns and licence, or what its cache holds."""
    from huggingface_hub import HfApi

    address = asker.hub()
    if address is None:
        return _cached(resource)
    api = HfApi(endpoint=address)
    ask = api.dataset_info if resource.kind == "dataset" else api.model_info
    about = ask(resource.id, revision=resource.revision, files_metadata=True, timeout=TIMEOUT_SECONDS)
    sizes = {file.rfilename: file.size or 0 for file in about.siblings or ()}
    wanted = _wanted(resource.choices, list(sizes))
    card = about.card_data.to_dict() if about.card_data else {}
    licence = _licence(card) or resource.licence
    if not wanted:
        names = " or ".join(", ".join(choice) for choice in resource.choices)
        return Resolved(resource, f"has no files {names}", about.sha or "", licence=licence)
    total = sum(sizes[name] for name in wanted)
    here = sum(sizes[name] for name in wanted if _in_cache(resource, name, about.sha))
    columns, rows = _schema(resource, card, address, about.sha, wanted)
    missing = [column for column in resource.columns if columns is not None and column not in columns]
    gated = (
        "" if _may_read(api, resource, about) else "gated: ask for access on its page, and log in with hf auth login"
    )
    problem = f"has no column {', '.join(missing)}; it has {', '.join(columns or ())}" if missing else gated
    return Resolved(resource, problem, about.sha or "", total, here, rows, licence)


def _may_read(api: "HfApi", resource: Resource, about: "DatasetInfo | ModelInfo") -> bool:
    """Whether files of a gated repository may be fetched from here; any other's may."""
    from huggingface_hub.errors import GatedRepoError

    if not about.gated:
        return True
    try:
        api.auth_check(resource.id, repo_type=resource.kind)
    except GatedRepoError:
        return False
    return True


def _wanted(choices: Sequence[Sequence[str]], names: Sequence[str]) -> list[str]:
    """The files of the first choice whose last pattern, the weights or the tables, is there."""
    for choice in choices:
        if any(fnmatchcase(name, choice[-1]) for name in names):
            return [name for name in names if any(fnmatchcase(name, pattern) for pattern in choice)]
    return []


def _licence(card: Mapping) -> str:
    said = card.get("license") or ""
    return ", ".join(said) if isinstance(said, list) else str(said)


def _in_cache(resource: Resource, name: str, revision: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(resource.id, name, revision=revision, repo_type=resource.kind)
    return isinstance(found, str) and Path(found).is_file()


def _cached(resource: Resource) -> Resolved:
    """Without the hub: what its cache on disk holds of this revision."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    offline = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "no connection to the hub"
    try:
        folder = Path(
            snapshot_download(resource.id, repo_type=resource.kind, revision=resource.revision, local_files_only=True)
        )
    except (LocalEntryNotFoundError, OSError):
        return Resolved(resource, f"{offline}, and it is not in the cache", licence=resource.licence)
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    wanted = _wanted(resource.choices, names)
    if not wanted:
        return Resolved(resource, f"{offline}, and its files are not in the cache", licence=resource.licence)
    size = sum((folder / name).stat().st_size for name in wanted)
    return Resolved(resource, "", folder.name, size, size, licence=resource.licence)


def _schema(
    resource: Resource, card: Mapping, address: str, revision: str | None, files: Sequence[str]
) -> tuple[list[str] | None, int | None]:
    """The columns of a data set, and the rows of its split where its card says; (None, None) for a model."""
    if resource.kind != "dataset":
        return None, None
    configs = card.get("dataset_info") or []
    for config in configs if isinstance(configs, list) else [configs]:
        features = [feature["name"] for feature in config.get("features") or ()]
        if features and (len(configs) == 1 or isinstance(configs, Mapping) or _of_config(config, files)):
            rows = [part.get("num_examples") for part in config.get("splits") or () if part["name"] == resource.split]
            return features, rows[0] if rows else None
    tables = [name for name in files if name.endswith(".parquet")]
    if not tables:
        return None, None
    url = f"{address}/datasets/{resource.id}/resolve/{revision}/{tables[0]}"
    import pyarrow.parquet as pq

    schema = pq.ParquetFile(Ranged(url))
    rows = schema.metadata.num_rows if len(tables) == 1 else None
    return schema.schema_arrow.names, rows


def _of_config(config: Mapping, files: Sequence[str]) -> bool:
    """Whether a configuration of a card is that of the files: its name is their folder."""
    return any(str(config.get("config_name")) in Path(name).parts for name in files)


class Ranged(io.RawIOBase):
    """A remote file of which only the parts that are read are fetched, by range requests.

    Raises:
        UserError: the server does not say how large the file is, or does not give parts of it.
    """

    def __init__(self, url: str):
        super().__init__()
        self.url, self.at = url, 0
        answer = requests.head(url, headers=NO_ENCODING, allow_redirects=True, timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
        size = answer.headers.get("X-Linked-Size") or answer.headers.get("Content-Length")
        if not size:
            raise UserError(f"{url}: the server does not say how large it is")
        self.size = int(size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer) -> int:
        last = min(self.at + len(buffer), self.size)
        if last <= self.at:
            return 0
        headers = {"Range": f"bytes={self.at}-{last - 1}", **NO_ENCODING}
        answer = requests.get(self.url, headers=headers, timeout=TIMEOUT_SECONDS, stream=True)
        with answer:
            if answer.status_code != requests.codes.partial_content:
                raise UserError(f"{self.url}: the server gives no parts of a file (status {answer.status_code})")
            content = answer.content
        buffer[: len(content)] = content
        self.at += len(content)
        return len(content)
