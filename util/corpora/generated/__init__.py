"""Inputs that are drawn from a seed, the same everywhere; records depend on them."""

from ..._lazy import attributes

__getattr__, __dir__ = attributes(__name__)
