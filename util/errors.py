"""The errors that a person who runs a command is meant to read."""


class UserError(ValueError):
    """Something the caller can put right: says in one line what was wrong, where, and what to do.

    It is a ``ValueError``, so library callers catch it as such; a command prints its line and exits with 2.
    """


class NoConnection(UserError):
    """The server could not be reached at all: asking it for the next file would be no use."""
