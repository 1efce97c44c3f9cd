"""Denigration harms of zero-shot classifiers: ``declared`` in a file, counted and compared by ``audit``."""

from .. import attributes

__getattr__, __dir__ = attributes(__name__)
