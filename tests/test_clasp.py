"""CLASP's architecture against a slow float64 reference without padding; rotation, scale and alphabet by hand."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from systems import clasp, untrained
from systems.clasp import residues
from tiny_systems import CLASP as TINY

pytestmark = pytest.mark.usefixtures("one_thread")

SEQUENCES = ["MKV", "ACDEFGHIKLMNPQRSTVWY" * 3, "", "WWWWWW", "MKVXMKV"]
TEXTS = ["binds iron", "", "a membrane protein of the inner mitochondrial membrane", "binds"]


@pytest.fixture(scope="module")
def tiny():
    """The scales of the layers are made large, so that every layer matters."""
    pair = clasp.load(device="cpu", sizes=TINY)
    for layer in (m for m in pair.model.modules() if isinstance(m, clasp.Scaled)):
        layer.scale.fill_(1.0)
    return pair


def reference(transformer, numbers):
    """One input alone, without padding, in float64, as the description reads."""
    double = {name: value.double() for name, value in transformer.state_dict().items()}

    def angles(position, of):
        return torch.tensor([position / 10_000 ** (2 * pair / of) for pair in range(of // 2)], dtype=torch.float64)

    def turned(vector, place):
        """Every two neighbours as a complex number; the class token, at place 0, stays."""
        turn = torch.exp(1j * angles(max(place - 1, 0), TINY.head_width))
        return torch.view_as_real(torch.view_as_complex(vector.reshape(-1, 2)) * turn).flatten()

    def linear(x, name):
        return x @ double[f"{name}.weight"].T + double.get(f"{name}.bias", 0)

    def normed(x, name):
        return functional.layer_norm(x, (TINY.width,), double[f"{name}.weight"], double[f"{name}.bias"])

    def attended(x, name):
        parts = linear(normed(x, f"{name}.norm"), f"{name}.layer.queries_keys_values").chunk(3, dim=1)
        outputs = []
        for h in range(TINY.heads):
            q, k, v = (part[:, h * TINY.head_width : (h + 1) * TINY.head_width] for part in parts)
            q, k = (torch.stack([turned(row, i) for i, row in enumerate(part)]) for part in (q, k))
            outputs.append((q @ k.T / math.sqrt(TINY.head_width)).softmax(dim=1) @ v)
        return linear(torch.cat(outputs, 1), f"{name}.layer.out") * double[f"{name}.scale"]

    def fed(x, name):
        value, gate = linear(normed(x, f"{name}.norm"), f"{name}.layer.inner").chunk(2, dim=1)
        gelu = gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2)))
        return linear(value * gelu, f"{name}.layer.out") * double[f"{name}.scale"]

    x = torch.stack([double["class_token"], *(double["tokens.weight"][number] for number in numbers)])
    turns = torch.stack([angles(position, TINY.width) for position in range(len(x))])
    x = x + torch.cat([turns.sin(), turns.cos()], dim=1)
    first = second = x
    for layer in range(TINY.depth):
        first = first + attended(second, f"attention.{layer}")
        second = second + fed(first, f"feed_forward.{layer}")
    return normed(first[0] + second[0], "norm")


def test_rows_are_those_of_a_slow_reference_without_padding(tiny):
    sequences = [untrained.padded(residues([sequence]), TINY.sequence)[0] for sequence in SEQUENCES]
    texts = [untrained.tokens([text], TINY.text, ends=False)[0] for text in TEXTS]
    with torch.no_grad():
        wanted = [reference(tiny.model.sequence, row[row >= 0].tolist()) for row in sequences]
        written = [reference(tiny.model.text, row[row >= 0].tolist()) for row in texts]
    for rows, theirs in ((tiny.non_text.encode(SEQUENCES), wanted), (tiny.text.encode(TEXTS), written)):
        assert (rows.dtype, rows.shape) == (np.float32, (len(theirs), TINY.width))
        assert np.allclose(rows, functional.normalize(torch.stack(theirs)), atol=2e-6)
    assert np.ptp(tiny.non_text.encode(SEQUENCES), axis=0).max() > 0.05
    tokens = untrained.padded(residues(["MKV"]), TINY.sequence)
    assert torch.equal(tiny.model.sequence(tokens), tiny.model.sequence(tokens[:, :3]))


def test_rotation_turns_pairs_by_their_frequencies():
    positions = clasp.sinusoids(9, 4)
    turned = clasp.rotated(torch.tensor([[1.0, 0, 0, 1.0]]), positions[1:2])[0]
    assert np.allclose(turned, [math.cos(1), math.sin(1), -math.sin(0.01), math.cos(0.01)], atol=1e-7)


def test_a_layer_is_scaled_behind_its_normalisation():
    scaled = clasp.Scaled(torch.nn.Identity(), 2)
    assert np.allclose(scaled(torch.tensor([3.0, 1.0])).detach(), [0.1, -0.1], atol=1e-4)


def test_residues_are_numbered_as_in_clasp_and_cut(tiny):
    *letters, last = clasp.ALPHABET
    assert letters == sorted("ARNDCQEGHILKMFPSTWYV" + "UO") and last == "X"
    assert residues(["ACY", "xbO*"]) == [[0, 1, 21], [22, 22, 12, 22]]
    assert tiny.non_text.prepare(["W" * 30, "A"])[:, [0, -1]].tolist() == [[20, 20], [0, untrained.PADDING]]
