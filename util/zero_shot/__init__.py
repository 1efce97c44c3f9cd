"""Zero-shot classification and retrieval at many shifts of the gap, and what may be concluded from them."""

from .._lazy import attributes

__getattr__, __dir__ = attributes(__name__)
