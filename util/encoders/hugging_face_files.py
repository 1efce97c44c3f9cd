"""A repository of transformers on disk: found, checked and loaded, while nothing of it is executed.

Its code and its pickled weights are not even fetched, and the folder that holds the rest is read without a network.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..corpora.hub import hub_or_cache
from ..errors import UserError, reason
from ..files import digest, sha256

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

CONFIGURATION = ("*.json", "*.txt", "*.model")
WEIGHTS = "model.safetensors"
"""Patterns of the files fetched from a repository: its top folder only, and weights only when they are wanted."""

READ_ONLY = {"local_files_only": True, "trust_remote_code": False}


def find(name: str, random: bool) -> tuple[Path, str | None]:
    """The folder of the model's files, and their commit; None for a folder of your own."""
    from huggingface_hub import snapshot_download

    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder, None
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise UserError(f"{name}: no such folder")
    wanted = list(CONFIGURATION) if random else [*CONFIGURATION, WEIGHTS]
    try:
        with hub_or_cache():
            found = snapshot_download(name, allow_patterns=wanted, ignore_patterns="*/*")
    except Exception as error:  # the hub's client raises errors of many kinds, its http library's included
        raise not_fetched(name, name, error, "a folder") from error
    return Path(found), Path(found).name


def not_fetched(what: str, page: str, error: Exception, instead: str) -> UserError:
    """The one line about a model that the hub did not give."""
    where = f"https://huggingface.co/{page} ({reason(error)})"
    return UserError(
        f"{what} could not be fetched from {where}; check the name, or run this once where there is a network and copy "
        f"its Hugging Face cache here (HF_HOME), or give {instead}"
    )


def configuration(folder: Path) -> "PreTrainedConfig":
    """The architecture, if its model has ``get_image_features`` and ``get_text_features``."""
    import transformers

    if not (folder / "config.json").is_file():
        raise UserError("there is no config.json, so this is no model of transformers")
    config = transformers.AutoConfig.from_pretrained(folder, transformers_weights=None, **READ_ONLY)
    config._attn_implementation = None  # a file may name a kernel there that would be fetched and run
    kind = transformers.MODEL_MAPPING.get(type(config), None)
    if not (hasattr(kind, "get_image_features") and hasattr(kind, "get_text_features")):
        raise UserError(
            f"its kind, {config.model_type}, has not both an image and a text tower, as clip and siglip have"
        )
    return config


def weights_digest(folder: Path) -> str:
    """The sha256 of the model's weights, which must be there as one file of safetensors."""
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"there are no weights in {WEIGHTS}; pickled ones, and those in several files, are not read")
    return sha256(folder / WEIGHTS)


def configuration_digest(folder: Path) -> str:
    """A digest of all that the embeddings depend on but the weights."""
    found = sorted(path for pattern in CONFIGURATION for path in folder.glob(pattern))
    return digest([[path.name, sha256(path)] for path in found])


def build(folder: Path, config: "PreTrainedConfig", seed: int | None) -> nn.Module:
    """The model in evaluation mode, on the CPU in float32; with trained weights where ``seed`` is None."""
    from transformers import AutoModel

    absent = []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed or 0)
        if seed is not None:
            network = AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False)
        else:
            told = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # refused below, in words
            options = {"config": config, "dtype": torch.float32, "use_safetensors": True, **told, **READ_ONLY}
            network, report = AutoModel.from_pretrained(folder, **options)
            absent = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if absent:
        what = f"{len(absent)} weights of {type(network).__name__}"
        raise UserError(f"{what} are not there, or not of its shape; the first is {absent[0]}")
    return network.eval().requires_grad_(False)


@contextmanager
def one_line(name: str) -> Iterator[None]:
    """Whatever goes wrong in the block is one line that begins with the model's name."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    except Exception as error:  # transformers, tokenizers, safetensors and torch each raise their own
        raise UserError(f"{name}: transformers could not load it ({reason(error)})") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Holds back the remarks and bars of libraries that load a model: what matters of them is an error of ours."""
    from transformers.utils import logging as reports

    hook = reports.set_tqdm_hook(lambda bar, given, options: reports.EmptyTqdm(*given))
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        reports.set_tqdm_hook(hook)
