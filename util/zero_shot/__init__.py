"""Zero-shot classification and retrieval at many shifts of the gap, and what may be concluded from them."""

from .. import attributes

__getattr__, __dir__ = attributes(__name__)
