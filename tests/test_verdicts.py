"""Every verdict could have been no: each number outside its tolerance, each claim on a run that contradicts it."""

import pytest

import contrary
from util import published, records
from util.reporting import comparisons

NUMBERS = published.numbers()
FLOATS = {key: each for key, each in NUMBERS.items() if isinstance(each.value, float)}
TOLERATED = [key for key, each in FLOATS.items() if each.judged_by.tolerance is not None]
AGAINST = {"no", "not shown", "paper is wrong"}


def verdict(comparison):
    return comparisons.verdict(records.plain(comparison))


@pytest.mark.parametrize("rule", sorted({NUMBERS[key].rule for key in TOLERATED}))
def test_no_tolerance_is_wider_than_what_it_judges(rule):
    judged = published.Rule(**published.values()["rules"][rule])
    assert judged.tolerance < judged.refuses <= 10 * judged.tolerance


def test_every_number_has_a_rule_with_its_reason():
    assert all(each.judged_by.says and each.judged_by.reason for each in NUMBERS.values())
    assert {each.rule for each in NUMBERS.values()} == set(published.values()["rules"])


@pytest.mark.parametrize("key", TOLERATED)
def test_a_number_is_no_outside_its_tolerance_and_yes_inside_it(key):
    number = NUMBERS[key]
    against = "paper is wrong" if number.judged_by.derivation else "no"
    for share, expected in ((-1.01, against), (-0.99, "yes"), (0.99, "yes"), (1.01, against)):
        ours = number.value + share * number.judged_by.tolerance
        assert verdict(published.compare(key, ours, "the paper's own", own=True)) == expected


@pytest.mark.parametrize("script", sorted({each.script for each in NUMBERS.values()}))
def test_each_claim_of_the_paper_is_refused_where_a_run_contradicts_it(script):
    found = {each.key: verdict(each) for each in getattr(contrary, script)() if NUMBERS[each.key].value is not None}
    claims = {key for key, each in NUMBERS.items() if each.script == script and isinstance(each.value, str)}
    assert claims <= found.keys() and {found[key] for key in claims} <= AGAINST
    assert set(found.values()) - {"not run"} <= AGAINST  # some numbers are told from no other, and not judged
