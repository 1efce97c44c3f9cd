"""Encoders: pictures, texts and other inputs to embeddings."""

from .._lazy import attributes

__getattr__, __dir__ = attributes(__name__)
