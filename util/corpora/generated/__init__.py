"""Inputs that are drawn from a seed, the same everywhere; records depend on them."""
