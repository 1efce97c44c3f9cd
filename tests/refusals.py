"""Calls and commands that must be refused, each in one line."""

from contextlib import contextmanager

import pytest

from util import UserError, commands


@contextmanager
def refused(words):
    """The block is a UserError of one line that a terminal can hold, with the words (a regular expression)."""
    with pytest.raises(UserError, match=words) as caught:
        yield
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def refuses(*cases):
    """A test for each (call, words) that the call is ``refused``."""

    @pytest.mark.parametrize("call, words", cases)
    def test(call, words):
        with refused(words):
            call()

    return test


def command(*words):
    commands.main([str(word) for word in words])


def stopped(capsys, *words):
    """The one line of a command that exits with 2."""
    with pytest.raises(SystemExit) as stop:
        command(*words)
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and line.startswith("error: ")
    return line
