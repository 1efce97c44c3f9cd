"""ConVIRT, radiographs and reports (Zhang et al. 2020): the architecture, with random weights.

A ResNet-50 whose pooled activations, and a BERT whose outputs' largest values, each go through a linear map, a ReLU and
a second linear map into a shared space of 512 dimensions. The trained weights were not published in a form that can
be had: ``systems.registry`` has BiomedCLIP in their place, said so wherever it appears.

Two things are not the authors': the tokenizer is CLIP's byte pairs with their 49,408 tokens in place of ClinicalBERT's
word pieces, which lie on a hub, and the hidden layer of each head is as wide as its input, which the paper leaves open.
"""

from dataclasses import asdict, dataclass

import torch
import torchvision
import transformers
from jaxtyping import Float, Int
from torch import Tensor, nn

from util.cli import Device
from util.encoders import repository, resnet
from util.encoders.tower import (
    EncoderPair,
    Precision,
    Tower,
    checked_device,
    normal_pixels,
    resolve_precision,
    uniform_tokens,
)

from . import byte_pairs


@dataclass(frozen=True)
class Sizes:
    """ConVIRT's own unless said otherwise.

    Attributes:
        resnet: torchvision's name of the image network.
        width, layers, heads, mlp: of BERT, base size.
        context: tokens of a text, start and end included, as many as BERT has positions.
        dim: of the shared space.
    """

    resnet: str = "resnet50"
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    context: int = 512
    dim: int = 512


class ConVirt(nn.Module):
    """Both encoders and their projection heads; pixels and tokens to rows (b, dim), not normalised.

    Args:
        sizes: of its parts; weights are drawn as torchvision, transformers and torch draw them.
    """

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.image = torchvision.models.get_model(sizes.resnet, weights=None)
        pooled, self.image.fc = self.image.fc.in_features, nn.Identity()
        config = transformers.BertConfig(
            vocab_size=byte_pairs.VOCABULARY,
            hidden_size=sizes.width,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            intermediate_size=sizes.mlp,
            max_position_embeddings=sizes.context,
        )
        self.text = transformers.BertModel(config, add_pooling_layer=False)
        self.image_head, self.text_head = head(pooled, sizes.dim), head(sizes.width, sizes.dim)

    def encode_image(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Pooled activations through the image's head."""
        return self.image_head(resnet.in_channels_last(self.image)(pixels))

    def encode_text(self, tokens: Int[Tensor, "b length"]) -> Float[Tensor, "b d"]:
        """The largest value of each of BERT's outputs over all tokens that are no padding, through the text's head."""
        tokens, real = byte_pairs.cut(tokens)
        outputs = self.text(input_ids=tokens, attention_mask=real.long()).last_hidden_state
        return self.text_head(largest(outputs, real))


def head(inputs: int, outputs: int) -> nn.Sequential:
    """ConVIRT's projection: linear, ReLU, linear."""
    return nn.Sequential(nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, outputs))


def largest(outputs: Float[Tensor, "b length w"], real: Tensor) -> Float[Tensor, "b w"]:
    """Maximum over the tokens where ``real`` (b, length) holds, in each dimension for itself."""
    return outputs.masked_fill(~real[:, :, None], -torch.inf).amax(dim=1)


def load(
    seed: int = 0, device: Device = "auto", precision: Precision = "float32", sizes: Sizes | None = None
) -> EncoderPair:
    """ConVIRT with random weights; needs no download.

    The image tower is in float32 whatever the precision, as ``util.encoders.resnet`` says why. Pictures are prepared as
    torchvision prepares them for its trained ResNets: 224 pixels a side, ImageNet's mean and standard deviation.

    Args:
        seed: the same seed gives the same weights whatever was drawn before, and nothing else is disturbed.
        device: "auto" takes a GPU where there is one.
        precision: of the text tower; "auto": bfloat16 where the hardware has it.
        sizes: smaller ones for tests; None: ConVIRT's.

    Raises:
        UserError: an unknown device or precision.
    """
    sizes, target = sizes or Sizes(), checked_device(device)
    dtype = resolve_precision(precision, target)
    with repository.quiet(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = ConVirt(sizes).eval().requires_grad_(False)
    network.image = resnet.fused(network.image).to(memory_format=torch.channels_last)
    network.to(target)
    network.text.to(dtype), network.text_head.to(dtype)
    settings = {
        "encoder": f"ConVIRT's architecture, torchvision {torchvision.__version__.split('+')[0]}, "
        f"transformers {transformers.__version__}",
        "model": "ConVIRT",
        "pretrained": None,
        "seed": seed,
        "sizes": asdict(sizes),
        "dim": sizes.dim,
        "tokenizer": {**byte_pairs.ABOUT, "reading": "true length, masked"},
        "dtype": str(dtype).removeprefix("torch."),
        "dtype_image": "float32",
        "device": target.type,
    }
    return EncoderPair(f"ConVIRT random weights, seed {seed}", *_towers(network, sizes, settings), settings, network)


def _towers(network: ConVirt, sizes: Sizes, settings: dict) -> tuple[Tower, Tower]:
    """Of images and of text; adds to the settings how pictures are prepared."""
    transform = torchvision.models.get_model_weights(sizes.resnet)[resnet.PRETRAINED].transforms()
    side, mean, std = transform.crop_size[0], list(transform.mean), list(transform.std)
    settings["pixels"] = {"size": side, "mean": mean, "std": std}
    shared = {"name": "ConVIRT", "weights": "random", "width": sizes.dim}
    shared["device"] = network.text_head[0].weight.device
    image = Tower(
        modality="image",
        prepare=lambda images: torch.stack([transform(image) for image in images]),
        forward=network.encode_image,
        noise=normal_pixels(side),
        settings={**settings, "modality": "image"},
        **shared,
    )
    text = Tower(
        modality="text",
        prepare=lambda texts: byte_pairs.tokens(texts, sizes.context, ends=True),
        forward=network.encode_text,
        noise=uniform_tokens(byte_pairs.VOCABULARY, sizes.context),
        lengths=byte_pairs.lengths,
        settings={**settings, "modality": "text"},
        **shared,
    )
    return image, text
