"""Runs that contradict the paper: one function a script, whose comparisons must all come out against it."""
