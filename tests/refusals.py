"""A test of many calls that must be refused, made from a table."""

import pytest

from util.errors import UserError


def refuses(*cases):
    """A test for each (call, words): the call is refused in one line, which holds the words (a regular expression)."""

    @pytest.mark.parametrize("call, words", cases)
    def test(call, words):
        with pytest.raises(UserError, match=words) as refused:
            call()
        assert "\n" not in str(refused.value)

    return test
