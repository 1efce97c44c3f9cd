"""ConVIRT, radiographs and reports: the architecture, with random weights. Source: Zhang et al. 2020.

A ResNet-50 whose pooled activations, and a BERT whose outputs' largest values, each go through a linear map, a ReLU and
a second linear map into a shared space. Two things are not the authors'. CLIP's byte pairs stand in the place of
ClinicalBERT's word pieces. The hidden layer of each head is as wide as its input, which the paper leaves open.
"""

from dataclasses import asdict, dataclass

import torch
import torchvision
import transformers
from jaxtyping import Float, Int
from torch import Tensor, nn

from util.encoders import models
from util.encoders.tower import EncoderPair

from . import untrained


@dataclass(frozen=True)
class Sizes:
    """Sizes of the ResNet (torchvision's name), of BERT, and of the shared space; tests take smaller ones."""

    resnet: str = "resnet50"
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    context: int = 512
    dim: int = 512


PUBLISHED = Sizes()


class ConVirt(nn.Module):
    """Both encoders and their projection heads: pixels and tokens to rows (b, dim), not normalised."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.image = torchvision.models.get_model(sizes.resnet, weights=None)
        pooled, self.image.fc = self.image.fc.in_features, nn.Identity()
        config = transformers.BertConfig(
            vocab_size=untrained.VOCABULARY,
            hidden_size=sizes.width,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            intermediate_size=sizes.mlp,
            max_position_embeddings=sizes.context,
        )
        self.text = transformers.BertModel(config, add_pooling_layer=False)
        self.image_head, self.text_head = head(pooled, sizes.dim), head(sizes.width, sizes.dim)

    def encode_image(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        return self.image_head(models.in_channels_last(self.image)(pixels))

    def encode_text(self, tokens: Int[Tensor, "b length"]) -> Float[Tensor, "b d"]:
        tokens, real = untrained.cut(tokens)
        outputs = self.text(input_ids=tokens, attention_mask=real.long()).last_hidden_state
        return self.text_head(largest(outputs, real))


def head(inputs: int, outputs: int) -> nn.Sequential:
    """ConVIRT's projection: linear, ReLU, linear."""
    return nn.Sequential(nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, outputs))


def largest(outputs: Float[Tensor, "b length w"], real: Tensor) -> Float[Tensor, "b w"]:
    """Maximum over the tokens where ``real`` (b, length) holds, in each dimension for itself."""
    return outputs.masked_fill(~real[:, :, None], -torch.inf).amax(dim=1)


def load(sizes: Sizes = PUBLISHED, **how) -> EncoderPair:
    """ConVIRT with random weights, ``how`` as ``Drawn.of``.

    Pictures are prepared as torchvision prepares them for its trained ResNets. The image tower is in float32 whatever
    the precision (``models.of_torchvision`` says why).
    """
    drawn = untrained.Drawn.of(lambda: ConVirt(sizes), **how)
    network = drawn.network.to(drawn.device)
    network.image = models.fused(network.image).to(memory_format=torch.channels_last)
    network.text.to(drawn.dtype)
    network.text_head.to(drawn.dtype)
    transform = torchvision.models.get_model_weights(sizes.resnet)[models.PRETRAINED].transforms()
    prepare = lambda images: torch.stack([transform(image) for image in images])  # noqa: E731
    image = {"modality": "image", "prepare": prepare, "forward": network.encode_image}
    about = {
        "encoder": f"torchvision {torchvision.__version__.split('+')[0]}, transformers {transformers.__version__}",
        "sizes": asdict(sizes),
        "pixels": {"size": transform.crop_size[0], "mean": list(transform.mean), "std": list(transform.std)},
        "dtype_image": "float32",
    }
    return drawn.pair("ConVIRT", sizes.dim, image, network.encode_text, sizes.context, ends=True, **about)
