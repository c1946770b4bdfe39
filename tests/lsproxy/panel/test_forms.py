"""What was filled in in a form."""

import contextlib
import time

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


def of_license(request):
    return filled_in(request, has_file=True)


def test_fields_are_read():
    """With blanks and other alphabets."""
    assert filled_in(asked(b"to=lic-b&who=a+%C3%A9&empty=")) == {"to": "lic-b", "who": "a é", "empty": ""}


def test_a_file_is_read():
    """Its lines end as they did; what it is called does not matter."""
    file = '; filename="acme.lic"\r\nContent-Type: application/octet-stream'
    assert of_license(parts(("form", "", b"abc"), ("file", file, b"SERVER a\r\n# \xc3\xa9\nB\n"))) == {
        "form": "abc",
        "file": "SERVER a\r\n# é\nB\n",
    }


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=200))
def test_any_text_comes_through(text):
    """Byte for byte, in a part of a form."""
    assert of_license(parts(("text", "", text.encode())))["text"] == text


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
        of_license(wrong)
    assert refused.value.reply.status == 400


@given(st.binary(max_size=300), st.sampled_from(["", "a/b", f"multipart/form-data; boundary={BOUNDARY}"]))
def test_no_bytes_break_it(body, kind):
    """They are fields, or refused."""
    with contextlib.suppress(RefusedError):
        assert all(isinstance(value, str) for value in of_license(asked(body, kind)).values())


def test_only_a_license_comes_in_parts():
    """Any other form is small and plain, whatever it says of itself."""
    for wrong in (parts(("token", "", b"abc")), asked(b"token=abc", "text/plain"), asked(b"a=" + b"%41" * 30_000)):
        with pytest.raises(RefusedError) as refused:
            filled_in(wrong)
        assert refused.value.reply.status == 400


MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    "body",
    [
        b"--a\r\n\r\n\r\n" * (MEGABYTE // 9) + b"--a--\r\n",
        b"--a\r\n" + b"A:b\r\n" * (MEGABYTE // 5) + b"\r\n\r\n--a--\r\n",
        b"--a\r\nContent-Disposition: form-data" + b"; a=b" * (MEGABYTE // 5) + b"\r\n\r\nx\r\n--a--\r\n",
        b'--a\r\nContent-Disposition: form-data; name="' + b"(" * MEGABYTE + b'"\r\n\r\nx\r\n--a--\r\n',
        b"--a\r\nContent-Disposition: form-data;" + b" ;" * 450 + b"\r\n\r\nx\r\n--a--\r\n",
        b"\r\n--" * (MEGABYTE // 4),
        b"--a" * (MEGABYTE // 3),
    ],
)
def test_no_megabyte_takes_long(body):
    """Whatever it is made for: a mail parser takes seconds for these, and recurses."""
    began = time.thread_time()
    with contextlib.suppress(RefusedError):
        of_license(asked(body, "multipart/form-data; boundary=a"))
    assert time.thread_time() - began < 0.05


@given(st.integers(0, 3), st.binary(max_size=40))
def test_what_is_between_the_parts_is_not_in_them(count, content):
    """Each part is what stands between two boundaries, be it like one."""
    content = content.replace(b"\xff", b"-").decode("utf-8", "ignore").encode()
    fields = [(f"n{number}", "", content) for number in range(count)]
    request = parts(("form", "", b"1"), *fields)
    assert of_license(request) == {"form": "1", **{name: content.decode() for name, _, content in fields}}
