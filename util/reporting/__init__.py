"""Records made into tables, pages and notebooks."""

from .._lazy import attributes

__getattr__, __dir__ = attributes(__name__)
