"""Encoders of your own: a function of a Python module or file, which gives what embeds pictures and texts."""

import runpy
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..cli import Device
from ..errors import UserError, reason
from ..files import sha256
from .named import Named
from .tower import EncoderPair, Precision, Tower


def build(named: Named, seed: int | None, device: Device, precision: Precision) -> EncoderPair | Tower:
    """What a function of yours gives: (encode_images, encode_texts), one of which may be None.

    They take a list of b PIL images or strings and give an array or a tensor (b, d), not normalised. A module is
    looked for in the working directory too. Its own imports are found beside it.
    """
    if seed is not None:
        raise UserError(f"{named}: your own functions have no random twin")
    path = Path(named.name)
    is_file = path.is_file() or named.name.endswith(".py")
    place = str(path.parent.absolute()) if is_file else str(Path.cwd())
    if place not in sys.path:
        sys.path.append(place)  # for good: its functions may import when they are called
    try:
        module = runpy.run_path(str(path)) if is_file else vars(import_module(named.name))
        given, file = module[named.tag](), Path(module["__file__"])
    except Exception as error:  # the file is the user's own
        raise UserError(f"{named}: it gave no encoders ({type(error).__name__}: {reason(error)})") from error
    are_two = isinstance(given, Sequence) and len(given) == 2 and all(each is None or callable(each) for each in given)
    if not are_two or list(given) == [None, None]:
        raise UserError(f"{named}: {named.tag}() must give (encode_images, encode_texts), one of which may be None")
    name = file.stem if named.name.endswith(".py") else named.name
    settings = {"encoder": "callable", "name": name, "function": named.tag, "sha256": sha256(file)}
    probes = {"image": Image.new("RGB", (224, 224), "grey"), "text": "a photograph"}
    towers = [
        _tower({**settings, "modality": modality}, encode, probe)
        for (modality, probe), encode in zip(probes.items(), given, strict=True)
        if encode is not None
    ]
    return towers[0] if len(towers) == 1 else EncoderPair(name, *towers, settings=settings, kept=False)


def _tower(settings: dict, function: Callable, probe) -> Tower:
    name, modality = settings["name"], settings["modality"]

    def rows(inputs: list, width: int | None = None) -> torch.Tensor:
        try:
            given = function(inputs)
        except Exception as error:  # the function is the user's own
            said = f"{type(error).__name__}: {reason(error)}"
            raise UserError(f"{name}: the {modality} function failed on {len(inputs)} inputs ({said})") from error
        given = given.detach().cpu() if isinstance(given, torch.Tensor) else torch.from_numpy(np.asarray(given))
        n = len(inputs)
        fits = given.ndim == 2 and given.shape == (n, width or given.shape[1])
        if not fits or not given.is_floating_point():
            wanted = f"floats ({n}, {width or 'd'})"
            raise UserError(f"{name}: {n} {modality}s gave {given.dtype} {tuple(given.shape)}, not {wanted}")
        return given.float()

    width = rows([probe]).shape[1]
    fields = {"name": name, "modality": modality, "width": width, "device": torch.device("cpu"), "settings": settings}
    return Tower(prepare=lambda inputs: rows(inputs, width), forward=lambda given: given, **fields)
