"""What a person sees in a browser."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import msgspec

from lsproxy.admin.page import POLICY, login_form, panel
from tests.lsproxy.admin.pictures import backend, pool


class Elements(HTMLParser):
    """Every element and its text, and whether all are closed."""

    VOID = frozenset({"meta", "input"})

    def __init__(self, text):
        super().__init__()
        self.open, self.names, self.attributes, self.words = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(reply):
    elements = Elements(reply.body.decode())
    assert not elements.open
    return elements


def test_the_panel_shows_pool_and_backends():
    """Who serves, and each server's health, role and address."""
    text = " ".join(read(panel([pool()], "now", "0.1.0")).words)
    for word in ("acme", "served by lic-a", "lic-b", "127.0.0.1:27101", "standby", "epoch 3"):
        assert word in text


def test_what_servers_say_is_only_text():
    """Nothing that comes from outside becomes markup."""
    evil = '<script>alert("x")</script>'
    odd = backend("lic-a", last_error=evil, binding="unbound", binding_reason=evil)
    reply = panel([pool(reason=evil, serving=None, conflicts=[evil], backends=[odd])], evil, evil)
    elements = read(reply)
    assert "script" not in elements.names
    assert evil in "".join(elements.words)


def test_the_pages_need_no_script_and_allow_none():
    """The policy lets in the one style sheet by its digest, nothing else."""
    for reply in (panel([pool()], "now", "0.1.0"), login_form()):
        assert reply.headers["Content-Security-Policy"] == POLICY
        style = re.search(r"<style>(.*)</style>", reply.body.decode(), re.DOTALL).group(1)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in POLICY
        assert "default-src 'none'" in POLICY
        assert not [name for name, _ in read(reply).attributes if name.startswith("on") or name in {"style", "src"}]


def test_a_pool_nobody_serves_stands_out():
    """The summary and the pool say so, with the reason."""
    reply = panel([pool(), pool(name="other", serving=None, reason="lic-a does not answer")], "now", "0.1.0")
    text = " ".join(read(reply).words)
    assert "1 of 2 pools served" in text
    assert "nobody serves" in text
    assert "lic-a does not answer" in text


def test_a_backend_that_never_answered_has_dashes():
    """Not knowing is not zero."""
    silent = msgspec.structs.replace(backend("lic-a"), said=None)
    assert read(panel([pool(backends=[silent])], "now", "0.1.0")).words.count("-") == 4
