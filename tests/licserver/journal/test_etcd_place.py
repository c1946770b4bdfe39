"""`etcd://…` URLs: what they say, and what a wrong one is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licserver.errors import LicserverError
from licserver.journal.etcd_place import EtcdPlace, parse_place
from lsproxy.errors import LsproxyError
from lsproxy.net.address import Address


def test_place():
    """Members in their order, IPv6 in brackets, a prefix; written as it was read."""
    text = "etcd://a.example.com:2379,[::1]:2380/acme"
    place = parse_place(text)
    assert place == EtcdPlace((Address("a.example.com", 2379), Address("::1", 2380)), "acme")
    assert str(place) == text


@pytest.mark.parametrize(
    "wrong",
    [
        "etcd://a:2379",
        "etcd://a:2379/",
        "etcd://a:2379//x",
        "etcd://a:2379/x/",
        "etcd://a:2379/x y",
        "etcd://a:2379/x/y",
        "etcd://user:secret@a:2379/x",
        "etcd:a:2379/x",
        "etcd://a:0/x",
        "etcd://a:1,a:1/x",
        "etcd://,/x",
        "etcd://a/x",
    ],
)
def test_wrong_place(wrong: str):
    """Is refused with a sentence that never repeats a password."""
    with pytest.raises((LicserverError, LsproxyError)) as refused:
        parse_place(wrong)
    assert "etcd://HOST:PORT" in str(refused.value) or "is not an address" in str(refused.value)
    assert "secret" not in str(refused.value)


@given(st.text(max_size=40))
def test_any_text(text: str):
    """Whatever is written is a place or refused."""
    try:
        place = parse_place(f"etcd://{text}")
    except (LicserverError, LsproxyError):
        return
    assert parse_place(str(place)) == place
