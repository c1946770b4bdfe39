"""What the audit log says of a change, as a line and as fields; what it never says."""

import json

import pytest
from twisted.logger import globalLogPublisher

from lsproxy.admin import audit
from lsproxy.admin.exchange import Asked, Peer
from lsproxy.admin.forwarded import Seen
from lsproxy.admin.routes import find
from lsproxy.logs import Lines


class Heard:
    """The audit lines in both forms."""

    def __init__(self):
        self.rows = {"text": [], "json": []}

    def write(self, text):
        self.rows["json" if text.startswith("{") else "text"].append(text)

    def flush(self):
        pass

    @property
    def text(self):
        return self.rows["text"][-1].partition(" ")[2].rstrip("\n")

    @property
    def fields(self):
        return json.loads(self.rows["json"][-1])


@pytest.fixture
def heard():
    made = Heard()
    observers = [Lines(made, form) for form in ("text", "json")]
    for observer in observers:
        globalLogPublisher.addObserver(observer)
    yield made
    for observer in observers:
        globalLogPublisher.removeObserver(observer)


def changed(method, path, body=b"", outcome="done", why=""):
    asked = Asked(method=method, path=path, body=body, peer=Peer("192.0.2.7"))
    audit.changed(asked, find(method, path), "ops", "operator", outcome, why)


def test_who_what_where_and_what_came_of_it(heard):
    """The same in a sentence and in fields."""
    changed("POST", "/api/v1/pools/acme/switch", b'{"to":"lic-b","force":true}')
    assert heard.text == "audit: ops (operator) from 192.0.2.7: switch acme to=lic-b force=true: done"
    said = heard.fields
    del said["time"], said["message"]
    assert said == {
        "level": "info",
        "event": "audit",
        "who": "ops",
        "role": "operator",
        "source": "192.0.2.7",
        "action": "switch",
        "pool": "acme",
        "to": "lic-b",
        "force": "true",
        "outcome": "done",
        "why": "",
    }


def test_a_refusal_has_its_reason(heard):
    """As the operator was told."""
    changed("POST", "/api/v1/pools/acme/backends/lic-a/state", b'{"state":"drain"}', "refused", "nothing stands by")
    assert heard.text.endswith("state acme lic-a state=drain: refused, nothing stands by")
    assert (heard.fields["backend"], heard.fields["state"], heard.fields["why"]) == (
        "lic-a",
        "drain",
        "nothing stands by",
    )


def test_keys_and_licenses_are_said_by_their_digest(heard):
    """Enough to know which, no more."""
    changed("POST", "/api/v1/pools/acme/activate", b'{"key":"M08JR-SECRET"}')
    changed("PUT", "/api/v1/pools/acme/license", b"INCREMENT cad acme SIGN=secret")
    text = "".join(heard.rows["text"] + heard.rows["json"])
    assert "secret" not in text.lower()
    assert "activate acme key=sha256:" in heard.rows["text"][0]
    assert heard.fields["license"].startswith("sha256:")


@pytest.mark.parametrize(
    "body",
    [b"a token that was pasted here", b'{"token":"pasted"}', b'{"to":1,"pasted":"x"}', b"\xff pasted", b"[" * 9000],
)
def test_nothing_of_a_body_that_is_not_understood(heard, body):
    """It may be anything, a token too."""
    changed("POST", "/api/v1/pools/acme/switch", body, "refused", "the body cannot be taken")
    assert "pasted" not in heard.rows["text"][-1]
    assert "pasted" not in heard.rows["json"][-1]


def test_names_forge_no_line(heard):
    """Whatever stands in a path or a body: one line, of bounded length."""
    changed("POST", f"/api/v1/pools/a%0Aaudit:%20root{'x' * 500}/switch", b'{"to":"b\\naudit: root"}')
    assert heard.rows["text"][-1].count("\n") == 1
    assert len(heard.rows["text"][-1]) < 400
    assert "'a\\naudit: root" in heard.text


def test_who_is_kept_out_is_told_too(heard):
    """By what is known of them."""
    asked = Asked(
        method="POST",
        path="/api/v1/reload",
        peer=Peer("127.0.0.1"),
        seen=Seen("192.0.2.7", "127.0.0.1", "https://licenses.example.com", is_private=True),
    )
    audit.kept_out(asked, find("POST", "/api/v1/reload"), "somebody", "a token is needed")
    assert (
        heard.text == "warning: audit: somebody from 192.0.2.7 through 127.0.0.1 was refused reload: a token is needed"
    )
    assert (heard.fields["outcome"], heard.fields["level"]) == ("refused", "warn")
    audit.logged_in(asked, "eve")
    assert heard.fields["action"] == "login"
