"""Numerical work on arrays: sums, cosines, statistics, projections."""

from .. import attributes

__getattr__, __dir__ = attributes(__name__)
