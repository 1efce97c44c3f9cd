"""torchvision's residual networks as image towers: the pooled activations before the classifier."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..cli import Device
from ..errors import UserError, reason
from .named import Named
from .tower import Precision, Tower, computing

PRETRAINED = "IMAGENET1K_V1"
"""The weights of the paper's ResNet-18."""
RECIPES = tuple(f"{name}_in1k" for name in ("a1", "a1h", "a2", "a3", "b1k", "b2k", "c1", "c2", "d", "ram", "tv"))
"""timm's ResNet-50 trained on ImageNet alone: eleven recipes, where the paper has eleven seeds of one."""


def build(named: Named, seed: int | None, device: Device, precision: Precision) -> Tower:
    """A residual network without its classifier: (n, 512) for ResNet-18, values not negative.

    Always in float32: with random weights the cosines lie within 1e-3 of 1, which bfloat16 would drown. A tag is one of
    torchvision's weights ("IMAGENET1K_V1", also without a tag) or of timm's for this network ("a1_in1k"), or a
    checkpoint file with the same names of parameters. Nothing but random weights depends on the seed.
    """
    import torchvision

    name, pretrained = named.name, (named.tag or PRETRAINED) if seed is None else None
    names = torchvision.models.list_models(include="resnet*")
    if name not in names:
        raise UserError(f"unknown ResNet {name!r}; choose from {', '.join(names)}")
    known = torchvision.models.get_model_weights(name)
    target, _ = computing(device)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed or 0)
        network = torchvision.models.get_model(name, weights=None)
    if pretrained is not None:
        _load_weights(network, name, pretrained, known)
    transform = known[pretrained if pretrained in known.__members__ else PRETRAINED].transforms()
    width, network.fc = network.fc.in_features, nn.Identity()
    network = fused(network.eval().requires_grad_(False)).to(target, memory_format=torch.channels_last)
    settings = {
        "encoder": f"torchvision {torchvision.__version__.split('+')[0]}",
        "model": name,
        "pretrained": pretrained,
        "seed": seed,
        "dim": width,
        "pixels": {"size": transform.crop_size[0], "mean": list(transform.mean), "std": list(transform.std)},
        "dtype": "float32",
        "device": target.type,
        "modality": "image",
    }
    fields = {"name": name, "modality": "image", "width": width, "device": target, "settings": settings}
    return Tower(
        prepare=lambda images: torch.stack([transform(image) for image in images]),
        forward=in_channels_last(network),
        **fields,
    )


def fused(network: nn.Module) -> nn.Module:
    """A ResNet in evaluation mode with every batch normalisation folded into its convolution: the same function."""
    for module in network.modules():
        for (conv, first), (norm, second) in pairwise(list(module.named_children())):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(module, conv, fuse_conv_bn_eval(first, second))
                setattr(module, norm, nn.Identity())
    return network


def in_channels_last(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """A convolutional network's function on pixels in the order that is fastest, in true float32 on a GPU too."""

    def forward(pixels: Tensor) -> Tensor:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # else not float32 on a GPU
            return network(pixels.contiguous(memory_format=torch.channels_last))

    return forward


def _load_weights(network: nn.Module, name: str, pretrained: str, known) -> None:
    """Fills a network with torchvision's weights, timm's, or those of a checkpoint file."""
    import timm
    from timm.models import load_checkpoint

    tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{name}.*")]
    is_file = Path(pretrained).is_file()
    if not is_file and pretrained not in {*known.__members__, *tags}:
        choices = ", ".join([*known.__members__, *tags])
        raise UserError(f"unknown weights {pretrained!r} of {name}; choose from {choices}, or name a checkpoint file")
    try:
        if is_file:
            load_checkpoint(network, pretrained)
        elif pretrained in tags:
            network.load_state_dict(timm.create_model(f"{name}.{pretrained}", pretrained=True).state_dict())
        else:
            fetched = known[pretrained].get_state_dict(progress=False, check_hash=True, weights_only=True)
            network.load_state_dict(fetched)
    except Exception as error:  # the hubs, the unpickler and the network each raise their own
        where = "" if is_file else "; without a network they are read of the hub's cache (TORCH_HOME, HF_HOME)"
        raise UserError(f"{name} with weights {pretrained} could not be loaded ({reason(error)}){where}") from error
