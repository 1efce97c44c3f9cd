"""Files of a model, of the Hugging Face hub or a folder: fetched, hashed and loaded, while no code of theirs is run."""

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

from ..errors import UserError, reason
from ..files import hub_or_cache, sha256, snapshot

READ_ONLY = {"local_files_only": True, "trust_remote_code": False}
"""Options of whatever transformers reads of a folder."""
OTHERWISE = (
    "check the name, or run this once where there is a network and copy its Hugging Face cache here (HF_HOME), or give "
    "a folder of its files"
)


def fetched(name: str, patterns: Sequence[str]) -> Path:
    """The folder of a repository's top files of these patterns, in the hub's cache; its name is their commit."""
    return snapshot(name, name, OTHERWISE, allow_patterns=list(patterns), ignore_patterns="*/*")


def hashes(files: Iterable[Path]) -> dict[str, str]:
    """Name -> sha256, for the settings of an encoder."""
    return {file.name: sha256(file) for file in sorted(files)}


@contextmanager
def loading(name: str, library: str, asks_hub: bool = False) -> Iterator[None]:
    """A block that loads a model without remarks and bars; whatever goes wrong in it is one line.

    No code of a repository is run, nor is anybody asked whether it may be.
    """
    try:
        with hub_or_cache() if asks_hub else nullcontext(), _quiet_and_safe():
            yield
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    except ConnectionError as error:
        raise UserError(f"{name} could not be fetched ({reason(error)}); {OTHERWISE}") from error
    except Exception as error:  # transformers, tokenizers, safetensors and torch each raise their own
        if "trust_remote_code" in str(error):
            raise UserError(f"{name}: it needs code that comes with it, which is not run; choose another") from error
        raise UserError(f"{name}: {library} could not load it ({reason(error)})") from error


@contextmanager
def _quiet_and_safe() -> Iterator[None]:
    """Holds back what libraries say while they load a model, and refuses its code at once, as open_clip does not."""
    from transformers import dynamic_module_utils
    from transformers.utils import logging as reports

    hook = reports.set_tqdm_hook(lambda bar, given, options: reports.EmptyTqdm(*given))
    with ExitStack() as after, warnings.catch_warnings(action="ignore"):
        after.callback(reports.set_tqdm_hook, hook)
        after.callback(logging.disable, logging.root.manager.disable)
        after.callback(setattr, dynamic_module_utils, "TIME_OUT_REMOTE_CODE", dynamic_module_utils.TIME_OUT_REMOTE_CODE)
        logging.disable(logging.ERROR)
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
        yield
