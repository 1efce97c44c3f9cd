"""Random amino-acid sequences at natural frequencies, and random texts about what a protein might do.

Every letter is drawn on its own, so that there are no motifs and no first methionine; no sequence stands for a protein,
and no text has to do with the sequence beside it.
"""

import numpy as np

from util.corpora.generated.collection import generator

PERCENT = {
    "A": 8.25,
    "R": 5.53,
    "N": 4.06,
    "D": 5.46,
    "C": 1.38,
    "Q": 3.93,
    "E": 6.72,
    "G": 7.07,
    "H": 2.27,
    "I": 5.91,
    "L": 9.65,
    "K": 5.80,
    "M": 2.41,
    "F": 3.86,
    "P": 4.74,
    "S": 6.64,
    "T": 5.36,
    "W": 1.10,
    "Y": 2.92,
    "V": 6.86,
}
"""Amino-acid composition of UniProtKB/Swiss-Prot, percent. They sum to 99.92 and are normalised before use.

Source: the release statistics of UniProtKB/Swiss-Prot, section "Amino acid composition"
(https://web.expasy.org/docs/relnotes/relstat.html).
"""

LENGTHS = (60, 160)
"""Shortest and longest sequence, in amino acids; all lengths between are equally likely."""

KINDS = ("a kinase", "a protease", "a transporter", "a receptor", "a ligase", "a chaperone", "a structural protein")
PLACES = ("in the cytoplasm", "in the nucleus", "in the membrane", "in mitochondria", "outside the cell")
PARTNERS = ("zinc", "calcium", "ATP", "DNA", "RNA", "haem", "other copies of itself")
TEXT = "{kind} found {place} that binds {partner}"
"""Words of our own; each is drawn with equal chances."""

_PURPOSE = 9


def sequences(n: int, seed: int) -> tuple[list[str], list[str]]:
    """n sequences of the 20 common amino acids and a random text for each.

    Raises:
        UserError: the seed is not a whole number of at least 0.
    """
    rng = generator(_PURPOSE, seed)
    letters, share = np.array(list(PERCENT)), np.array(list(PERCENT.values()))
    lengths = rng.integers(LENGTHS[0], LENGTHS[1] + 1, size=n)
    drawn = ["".join(rng.choice(letters, size=length, p=share / share.sum())) for length in lengths]
    words = {"kind": KINDS, "place": PLACES, "partner": PARTNERS}
    chosen = {name: rng.integers(len(choices), size=n) for name, choices in words.items()}
    texts = [TEXT.format(**{name: choices[chosen[name][i]] for name, choices in words.items()}) for i in range(n)]
    return drawn, texts
