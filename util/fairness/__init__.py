"""Denigration harms of zero-shot classifiers.

``declared`` reads prompts, classes and harm groups from a file. ``audit`` counts harms by group, ``disparity`` compares
the groups.
"""
