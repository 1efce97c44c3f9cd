"""The card: every measure of the gap, with an interval or a null, from one pass over files of any size."""

from .. import attributes

__getattr__, __dir__ = attributes(
    __name__, CARD="card", Measures="card", measure="card", merged="card", compare="card", Sums="sums"
)
