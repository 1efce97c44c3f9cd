"""Corpora: captioned, labelled and generated inputs."""

from .._lazy import attributes

__getattr__, __dir__ = attributes(__name__)
