"""``python -m util``: the same as ``modality-gap``."""

from util.commands import main

main()
