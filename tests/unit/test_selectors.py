"""Selectors and placeholders: which programs a text names, and what is filled in where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.model import placeholders
from chaoskit.model.selectors import is_plain, select

LABELS = {"worker-1": {"tier": "workers"}, "worker-2": {"tier": "workers"}, "db": {"tier": "store"}, "judge": {}}


@pytest.mark.parametrize(
    ("selector", "programs"),
    [
        ("worker-1", ("worker-1",)),
        ("worker-*", ("worker-1", "worker-2")),
        ("label:tier=workers", ("worker-1", "worker-2")),
        ("label:tier=w*", ("worker-1", "worker-2")),
        ("label:tier", ("worker-1", "worker-2", "db")),
        ("db, worker-1", ("worker-1", "db")),
        ("*", ("worker-1", "worker-2", "db")),
        ("judge", ("judge",)),
        ("judge,db", ("db", "judge")),
        ("worker-[13]", ("worker-1",)),
    ],
)
def test_a_selector_names_programs_in_their_order_and_the_judge_only_by_name(
    selector: str, programs: tuple[str, ...]
) -> None:
    assert select(selector, LABELS, unless_named=("judge",)) == programs


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ("worker-9", "there is no program 'worker-9' (programs: worker-1"),
        ("work?-*", "no program matches 'work?-*'"),
        ("label:tier=none", "no program has the label 'tier=none' (labels: tier=store, tier=workers)"),
        ("label:", "no program has the label ''"),
        ("judge*", "no program matches 'judge*'"),
        ("db,", "there is no program ''"),
    ],
)
def test_a_selector_that_names_nobody_is_an_error_that_says_what_there_is(selector: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        select(selector, LABELS, unless_named=("judge",))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_only_a_single_name_is_plain() -> None:
    assert is_plain("worker-1")
    assert not any(map(is_plain, ["worker-*", "a,b", "label:a=b", "worker-?", "[ab]"]))


VALUES = {"data": "/run/data", "COUNT": "3"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{data}/ledger.db", "/run/data/ledger.db"),
        ("{data}{COUNT}", "/run/data3"),
        ("n={COUNT}", "n=3"),
        ("{{data}", "{data}"),
        ("{{data}}", "{data}"),
        ("${data}", "${data}"),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ("{print $1}", "{print $1}"),
        ("{a,b}", "{a,b}"),
        ("{{.State}}", "{{.State}}"),
        ("{}", "{}"),
    ],
)
def test_only_a_name_in_braces_is_a_placeholder(text: str, filled: str) -> None:
    assert placeholders.fill(text, VALUES) == filled


@given(st.text(alphabet="{}$ab", max_size=12))
def test_a_text_without_a_known_or_escaped_name_stays_as_it_is(text: str) -> None:
    if placeholders.unknown(text, ()) is None and "{{" not in text:
        assert placeholders.fill(text, {}) == text


def test_a_value_is_not_filled_again() -> None:
    assert placeholders.fill("{data}", {"data": "{COUNT}", "COUNT": "3"}) == "{COUNT}"


def test_an_unknown_placeholder_is_found() -> None:
    assert placeholders.unknown("{data}/{OTHER}", VALUES) == "OTHER"
    assert placeholders.unknown("{data}/{{OTHER}/${OTHER}", VALUES) is None
