"""Versions compare as dotted integers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.license.version import parse_version


@pytest.mark.parametrize(
    ("lower", "higher"), [("2026.9", "2026.10"), ("0", "0.1"), ("1.9.9", "2"), ("2027", "2027.0.1")]
)
def test_order(lower, higher):
    """2026.10 is above 2026.9."""
    assert parse_version(lower) < parse_version(higher)


def test_trailing_zeros():
    """2027, 2027.0 and 2027.00.0 are one version."""
    assert parse_version("2027") == parse_version("2027.0") == parse_version("2027.00.0")
    assert parse_version("0") == parse_version("0.0") == ()


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".1", "v1", "1,0", "-1", "1 ", "1\n", "\uff11", "1" * 10, "1.1.1.1.1.1.1.1.1"]
)
def test_no_version(text):
    """What is not one to eight numbers joined by dots is no version."""
    assert parse_version(text) is None


@given(st.lists(st.integers(0, 10**9 - 1), min_size=1, max_size=8))
def test_any_numbers(numbers):
    """Every such list of numbers is a version, and equals itself with a zero more."""
    text = ".".join(map(str, numbers))
    assert parse_version(text) == parse_version(".".join(map(str, [*numbers, 0][:8]))) or len(numbers) == 8
    assert parse_version(text) is not None
