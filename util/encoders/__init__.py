"""Encoders: pictures, texts and other inputs to embeddings."""

from .. import attributes

__getattr__, __dir__ = attributes(__name__)
