"""The card: every measure of the gap, with an interval or a null, from one pass over files of any size."""

from .._lazy import attributes

_sources = dict.fromkeys(("CARD", "MOST", "Measures", "measure", "merged"), "card")
__getattr__, __dir__ = attributes(__name__, **_sources, compare="comparison", Sums="sums")
