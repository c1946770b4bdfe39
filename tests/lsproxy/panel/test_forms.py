"""What was filled in in a form."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.admin.exchange import Asked, Peer, RefusedError
from lsproxy.panel.forms import filled_in

BOUNDARY = "----WebKitFormBoundaryabc123"


def asked(body, kind="application/x-www-form-urlencoded"):
    return Asked(method="POST", path="/", body=body, peer=Peer("here"), headers={"content-type": kind})


def parts(*fields):
    rows = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"
        for name, more, content in fields
    ]
    body = b"".join(rows) + f"--{BOUNDARY}--\r\n".encode()
    return asked(body, f"multipart/form-data; boundary={BOUNDARY}")


def test_fields_are_read():
    """With blanks and other alphabets."""
    assert filled_in(asked(b"to=lic-b&who=a+%C3%A9&empty=")) == {"to": "lic-b", "who": "a é", "empty": ""}


def test_a_file_is_read():
    """Its lines end as they did; what it is called does not matter."""
    file = '; filename="acme.lic"\r\nContent-Type: application/octet-stream'
    assert filled_in(parts(("form", "", b"abc"), ("file", file, b"SERVER a\r\n# \xc3\xa9\nB\n"))) == {
        "form": "abc",
        "file": "SERVER a\r\n# é\nB\n",
    }


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=200))
def test_any_text_comes_through(text):
    """Byte for byte, in a part of a form."""
    assert filled_in(parts(("text", "", text.encode())))["text"] == text


@pytest.mark.parametrize(
    "wrong",
    [
        asked(b"a=%ff"),
        asked(b"\xff"),
        asked(b"&".join(b"a=1" for _ in range(50))),
        asked(b"", "multipart/form-data"),
        asked(b"nothing", f"multipart/form-data; boundary={BOUNDARY}"),
        parts(*[("a", "", b"1")] * 30),
        parts(("a", "", b"\xff")),
    ],
)
def test_what_is_no_form_is_400(wrong):
    """With a sentence."""
    with pytest.raises(RefusedError) as refused:
        filled_in(wrong)
    assert refused.value.reply.status == 400


@given(st.binary(max_size=300), st.sampled_from(["", "a/b", f"multipart/form-data; boundary={BOUNDARY}"]))
def test_no_bytes_break_it(body, kind):
    """They are fields, or refused."""
    with contextlib.suppress(RefusedError):
        assert all(isinstance(value, str) for value in filled_in(asked(body, kind)).values())
