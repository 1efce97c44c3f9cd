"""A test of many calls that must be refused, made from a table, and a command that is."""

import pytest

from util import UserError, commands


def refuses(*cases):
    """A test for each (call, words): the call is refused in one line, which holds the words (a regular expression)."""

    @pytest.mark.parametrize("call, words", cases)
    def test(call, words):
        with pytest.raises(UserError, match=words) as refused:
            call()
        assert "\n" not in str(refused.value)

    return test


def command(*words):
    commands.main([str(word) for word in words])


def refused(capsys, *words):
    """The one line of a command that exits with 2."""
    with pytest.raises(SystemExit) as stop:
        command(*words)
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and line.startswith("error: ")
    return line
