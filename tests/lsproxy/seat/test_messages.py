"""Requests are read strictly in what they know, and every wrong one gets its sentence."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.seat.messages import (
    Activate,
    Checkout,
    Hello,
    Notice,
    Queued,
    Refusal,
    Register,
    Registration,
    RequestKey,
    RequestKeyReply,
    Unblocked,
    Usage,
    decode_request,
    encode,
)

WRONG = [
    (b"", 0, "bad_request", "one JSON object on a line"),
    (b"\xff\x00", 0, "bad_request", "one JSON object on a line"),
    (b"[]", 0, "bad_request", "one JSON object on a line"),
    (b'{"op":"status"}', 0, "bad_request", "needs an `id`"),
    (b'{"id":0,"op":"status"}', 0, "bad_request", "needs an `id`"),
    (b'{"id":9007199254740992,"op":"status"}', 0, "bad_request", "needs an `id`"),
    (b'{"id":7}', 7, "bad_request", "needs an `op`"),
    (b'{"id":7,"op":"dance"}', 7, "unknown_op", "'dance' is no operation of seat/1"),
    (b'{"id":7,"op":"register"}', 7, "bad_request", "missing required field `name`"),
    (b'{"id":7,"op":"checkout"}', 7, "bad_request", "checkout: Object missing required field `feature`"),
    (b'{"id":7,"op":"checkout","feature":""}', 7, "bad_request", "$.feature"),
    (b'{"id":7,"op":"checkout","feature":"cad","count":0}', 7, "bad_request", "$.count"),
    (b'{"id":7,"op":"checkout","feature":"cad","count":1.5}', 7, "bad_request", "$.count"),
    (b'{"id":7,"op":"checkout","feature":"cad","wait":-1}', 7, "bad_request", "$.wait"),
    (b'{"id":7,"op":"checkout","feature":"cad","version":"2026b"}', 7, "bad_request", "one to eight numbers"),
    (b'{"id":7,"op":"hello","session":"secret"}', 7, "bad_request", "32 hex digits"),
    (b'{"id":7,"op":"usage","limit":1001}', 7, "bad_request", "$.limit"),
]


@pytest.mark.parametrize(("line", "number", "code", "words"), WRONG)
def test_a_wrong_request_gets_a_sentence(line, number, code, words):
    """The refusal has the request's id, or 0 where there is none, and names what is wrong."""
    refusal = decode_request(line)
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.error) == (number, code)
    assert words in refusal.message


def test_a_wrong_session_is_not_repeated():
    """What a client sends as its secret does not come back, nor reach a log, in the sentence on it."""
    refusal = decode_request(b'{"id":1,"op":"hello","session":"tops3cret"}')
    assert "tops3cret" not in encode(refusal).decode()


def test_unknown_keys_are_ignored():
    """A newer client may say more than this release understands."""
    asked = decode_request(b'{"id":7,"op":"checkout","feature":"cad","colour":"red"}')
    assert asked == Checkout(7, "cad", "0", 1, 0.0)
    assert decode_request(b'{"id":7,"op":"usage"}') == Usage(7, None, 0, 200, holders=True)


def test_a_hello_is_whole():
    """Everything a session says of itself arrives."""
    said = {"id": 1, "op": "hello", "protocol": "seat/1", "session": "9F86D081884C7D659A2FEAA0C55AD015", "attempt": 3}
    said |= {"user": "alice", "host": "ws1", "display": "/dev/tty1", "pid": 115, "app": "cad", "hostids": ["ether=02"]}
    hello = decode_request(json.dumps(said).encode())
    assert isinstance(hello, Hello)
    assert (hello.session, hello.attempt, hello.hostids) == ("9F86D081884C7D659A2FEAA0C55AD015", 3, ["ether=02"])


def test_requests_of_a_redundant_server():
    """A redundant server registers with what it is; a request key needs nothing, an activation its key."""
    read = msgspec.json.Decoder(Register | RequestKey | Activate).decode
    said = b'{"id":3,"op":"register","name":"lic-b","address":"lic-b:27101","hostids":["ether=02a1b2c3d4e5"]}'
    assert read(said) == Register(3, "lic-b", "lic-b:27101", ["ether=02a1b2c3d4e5"])
    assert read(b'{"id":4,"op":"request_key"}') == RequestKey(4)
    assert read(b'{"id":5,"op":"activate","key":"M4..."}') == Activate(5, "M4...")
    for wrong in (
        b'{"id":3,"op":"register","name":"lic-b","address":"lic-b:27101"}',
        b'{"id":3,"op":"register","name":"lic-b","address":"lic-b:27101","hostids":[]}',
        b'{"id":5,"op":"activate"}',
    ):
        with pytest.raises(msgspec.ValidationError):
            read(wrong)


def test_replies_to_a_redundant_server():
    """Each reply is `ok` and has what was asked for."""
    said = Registration(
        3,
        "acme-licenses",
        "lic-a",
        "lic-a:27101",
        ["hostname=lic-a"],
        "SERVER …",
        "etcd://h:2379/p",
        2.0,
        15.0,
        45.0,
        "…",
    )
    assert msgspec.to_builtins(said)["ok"]
    assert encode(RequestKeyReply(4, "24J", 2, 1)) == b'{"id":4,"key":"24J","takeover":2,"extension":1,"ok":true}\n'
    assert encode(Unblocked(5, 72, 259200.0)) == b'{"id":5,"hours":72,"remaining":259200.0,"ok":true}\n'


@given(st.binary(max_size=200))
def test_no_bytes_break_it(line):
    """Whatever arrives is a request or a refusal."""
    decode_request(line)


def test_what_is_said_is_a_line():
    """One JSON object, one newline, no key that says nothing."""
    assert encode(Queued(7, 3)) == b'{"event":"queued","id":7,"position":3}\n'
    assert encode(Notice("license", "differs")) == b'{"code":"license","message":"differs"}\n'
    assert b'"active":' not in encode(Refusal(1, "not_active", "stands by"))


def test_deep_nesting_is_refused_like_any_nonsense():
    """A line that would exhaust the stack of the decoder is no request."""
    deep = b'{"id":7,"op":"checkout","feature":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    refusal = decode_request(deep)
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.error) == (0, "bad_request")
