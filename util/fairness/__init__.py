"""Denigration harms of zero-shot classifiers: declared in a file, counted and compared."""

from .. import attributes

__getattr__, __dir__ = attributes(__name__)
