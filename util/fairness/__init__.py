"""Denigration harms of zero-shot classifiers.

``declared`` reads prompts, classes and harm groups from a file. ``audit`` counts harms by group, ``disparity`` compares
the groups.
"""

from .._lazy import attributes

__getattr__, __dir__ = attributes(__name__)
