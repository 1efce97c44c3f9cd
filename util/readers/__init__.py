"""Files that embeddings are stored in, a module for each family of formats."""

from .._lazy import attributes

__getattr__, __dir__ = attributes(__name__)
