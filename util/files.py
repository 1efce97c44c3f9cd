"""Files that appear complete or not at all, those fetched or cached, the Hugging Face hub, and TOML of your own."""

import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import threading
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, TypeVar

import platformdirs
import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError

from . import NoConnection, UserError, reason, refusal

PACKAGE = Path(__file__).resolve().parent
REPOSITORY = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else Path.cwd()
"""The checkout that this package lies in; the working directory where it is installed without one."""

CACHE_VARIABLE = "MODALITY_GAP_DATA"

CONNECT_SECONDS = 4.0
"""How long a server may take to answer at all, looking up its name included."""


def cache_folder() -> Path:
    """The folder that ``MODALITY_GAP_DATA`` names, by default one in the user's cache directory."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("modality-gap")).expanduser()


def cached_path(kind: str, settings: Mapping, suffix: str = "") -> Path:
    """Place of something expensive, by the ``digest`` of all that it depends on: formats, versions, hashes, seeds."""
    return cache_folder() / kind / f"{digest(settings)}{suffix}"


def digest(value: object) -> str:
    """sha256 of a json-able value in canonical form, as 64 hexadecimal digits."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def sha256(path: Path) -> str:
    """Hash of a file's content, or of the names and contents of a folder's files, as 64 hexadecimal digits."""
    if Path(path).is_dir():
        members = sorted(each for each in Path(path).rglob("*") if each.is_file())
        said = "".join(f"{each.relative_to(path).as_posix()} {sha256(each)}\n" for each in members)
        return hashlib.sha256(said.encode()).hexdigest()
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_of(path: str | Path) -> tuple[str, str]:
    """A text file's content, and the sha256 of the file."""
    try:
        content = Path(path).read_bytes()
        return content.decode("utf-8-sig"), hashlib.sha256(content).hexdigest()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x})") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a text file") from error


def is_remote(path: str) -> bool:
    """Whether a path names a data set of the hub (``hub:OWNER/NAME``)."""
    return path.startswith("hub:")


def named_path(given: str | Path) -> tuple[str, str]:
    """The name and the path of ``image=a.npy``; the name is empty where none is given."""
    given = str(given)
    if is_remote(given) or Path(given).exists() or not re.match(r"[^/\\]*=", given):
        return "", given
    name, _, path = given.partition("=")
    return name, path


def place(given: str | Path) -> str:
    """Where a file lies, in one spelling: without the name that it was given, absolute, of the hub as it is."""
    path = named_path(given)[1]
    return path if is_remote(path) else str(Path(path).resolve())


def reachable(url: str) -> bool:
    """Whether a server answers anything at all within ``CONNECT_SECONDS``."""
    import requests

    answers = []  # a connection's own timeout counts anew for each address, and leaves the look-up of the name out

    def ask() -> None:
        with suppress(requests.RequestException):
            answers.append(requests.head(url, timeout=CONNECT_SECONDS))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(CONNECT_SECONDS)
    return bool(answers)


@contextmanager
def hub_or_cache() -> Iterator[None]:
    """Asks the Hugging Face hub only if it answers, else its cache on disk alone.

    Without this block every file is asked for again and again, half a minute and a screen of warnings for each.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    online = not before and reachable(constants.ENDPOINT)
    constants.HF_HUB_OFFLINE = not online
    try:
        yield
    except Exception as error:
        if online:
            raise
        raise ConnectionError(f"no connection to {constants.ENDPOINT}, and not whole in its cache") from error
    finally:
        constants.HF_HUB_OFFLINE = before


def snapshot(name: str, what: str, otherwise: str, **options) -> Path:
    """The folder of a repository's files in the hub's cache; options as of ``huggingface_hub.snapshot_download``.

    What was asked for, and what to do ``otherwise``, are for the error: ``NoConnection`` where no hub answers.
    """
    from huggingface_hub import snapshot_download

    try:
        with hub_or_cache():
            return Path(snapshot_download(name, **options))
    except Exception as error:  # the hub's client raises errors of many kinds, its http library's included
        kind = NoConnection if isinstance(error, ConnectionError) else UserError
        raise kind(f"{what} could not be fetched ({reason(error)}); {otherwise}") from error


TEMPORARY = re.compile(r"\.part-([0-9a-f]{6})-(\d{1,9})-\w{8}")
"""Name of a temporary folder: which machine and which process made it."""
MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
_WRITING: set[Path] = set()
_MAKING = threading.Lock()


@contextmanager
def publishing(folder: Path) -> Iterator[Path]:
    """Gives an empty temporary folder whose files move into ``folder`` together when the block succeeds.

    A block that fails leaves ``folder`` as it was. What killed processes left there goes. Files get the mode
    of any new file (those of safetensors' ``save_file`` are their owner's alone).
    """
    folder = Path(folder)
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _MAKING:
            remove_left(folder)
            _WRITING.add(part := Path(tempfile.mkdtemp("", f".part-{MACHINE}-{os.getpid()}-", folder)))
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another place") from error
    try:
        yield part
        files, new = sorted(part.iterdir()), part / ".new"
        new.touch()
        for file in files:
            if file.stat().st_mode != new.stat().st_mode:
                file.chmod(new.stat().st_mode)
            file.replace(folder / file.name)
    except (OSError, SafetensorError) as error:  # a full disk is either
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{folder}: could not be written ({why})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        _WRITING.discard(part)
        for parent in made:
            if not any(parent.iterdir()):
                parent.rmdir()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path of the same name, and renames it to ``path`` when the block succeeds."""
    with publishing(Path(path).parent) as folder:
        yield folder / Path(path).name


def remove_left(folder: Path) -> None:
    """Removes what killed processes of this machine left half written in a folder; never what a living one writes."""
    for path in Path(folder).glob(".part-*"):
        made = TEMPORARY.fullmatch(path.name)
        if made and made[1] == MACHINE and path not in _WRITING:
            process = int(made[2])
            if process == os.getpid() or not psutil.pid_exists(process):
                shutil.rmtree(path, ignore_errors=True)


class Declared(BaseModel):
    """Base of every table of a TOML file: exact types, no unknown keys, never changed afterwards."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


Text = Annotated[str, Field(pattern=r"\S")]
Texts = Annotated[tuple[Text, ...], Field(strict=False)]
"""A TOML list of texts. It is not strict, because TOML has lists and no tuples; each text is."""

Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: str | Path, model: type[Model]) -> Model:
    """Reads the content of a TOML file as a model, or refuses it in one line.

    A validator refuses by raising ``ValueError``; one that looks at several keys begins its message with a key.
    """
    try:
        return model.model_validate(tomllib.loads(text_of(path)[0]))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML ({error})") from error
    except ValidationError as error:
        raise UserError(f"{path}: {refusal(error)}") from error
