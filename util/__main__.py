"""``python -m util``: the same as ``modality-gap``."""

from .commands import main

main()
