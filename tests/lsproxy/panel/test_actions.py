"""What is asked, what is done, what is said."""

import msgspec
import pytest

from lsproxy.admin.exchange import RefusedError
from lsproxy.admin.routes import find
from lsproxy.panel.actions import ACTIONS, call, done, license_again, question
from tests.lsproxy.admin.pictures import pool

GIVEN = {
    "switch": {"to": "lic-b"},
    "state": {"backend": "lic-a", "state": "maint"},
    "remove": {"seat": "1042"},
    "license": {"text": "SERVER a\r\n"},
    "activate": {"key": " ABC "},
    "request-key": {},
}


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_is_a_call_of_the_api(action):
    """One that is there, and that needs an operator where it changes something."""
    wanted = call(action, "acme", GIVEN[action])
    found = find(wanted.method, wanted.path)
    assert found.names["pool"] == "acme"
    assert found.is_change == (action != "request-key")


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_is_asked_for_in_full_sentences(action):
    """What the form sends is what was asked."""
    asked = question(action, pool(), GIVEN[action], "alice on ws1 has 1 seat of cad")
    assert asked.title
    assert all(sentence.endswith(".") for sentence in asked.sentences)
    assert set(asked.fields.items()) <= set(GIVEN[action].items())
    assert (asked.button is None) == (action == "request-key")


def test_bodies_are_those_of_the_api():
    """A pasted license has the line ends of a file; a key no blanks."""
    assert msgspec.json.decode(call("remove", "acme", {"seat": "1042"}).body) == {"seat": 1042}
    assert call("license", "acme", {"text": "SERVER a\r\n"}).body == b"SERVER a\n"
    assert call("license", "acme", {"file": "SERVER a\r\n"}).body == b"SERVER a\r\n"
    assert msgspec.json.decode(call("activate", "acme", {"key": " ABC "}).body) == {"key": "ABC"}
    assert call("switch", "a/b", {"to": "x"}).path == "/api/v1/pools/a%2Fb/switch"


@pytest.mark.parametrize(
    ("action", "given"),
    [
        ("state", {"backend": "lic-a", "state": "gone"}),
        ("remove", {"seat": "-1"}),
        ("remove", {"seat": "9" * 40}),
        ("remove", {}),
        ("license", {}),
        ("license", {"file": "a", "text": "b"}),
    ],
)
def test_nonsense_is_400(action, given):
    """Before anything is called."""
    with pytest.raises(RefusedError) as refused:
        call(action, "acme", given)
    assert refused.value.reply.status == 400


def test_a_license_has_its_limit():
    """413, as over the API."""
    with pytest.raises(RefusedError) as refused:
        call("license", "acme", {"text": "x" * (1024 * 1024 + 1)})
    assert refused.value.reply.status == 413


def test_taking_out_the_one_that_serves_is_grave():
    """It is said that it serves; a seat that nobody has is said, too."""
    serving = question("state", pool(), {"backend": "lic-a", "state": "maint"})
    assert serving.is_grave
    assert serving.sentences[0] == "lic-a serves acme now."
    assert not question("state", pool(), {"backend": "lic-b", "state": "maint"}).is_grave
    assert question("remove", pool(), {"seat": "7"}).sentences[0] == "Nobody has seat 7 any more."


def test_a_license_that_grants_less_is_asked_for_once_more():
    """With its text, so that nothing has to be chosen again."""
    asked = license_again("acme", "SERVER a\n", ["every line of it has expired"])
    assert asked.sentences == ["Every line of it has expired."]
    assert asked.is_grave
    assert call("license", "acme", asked.fields).body == b"SERVER a\n"


def test_what_was_done_is_said():
    """One sentence; for a license one for each place that it did not reach, too."""
    assert done("switch", {"pool": "acme", "serving": "lic-b"}) == "acme is served by lic-b."
    assert done("remove", {"seat": 7}) == "Seat 7 was taken back."
    assert done("activate", {"hours": 72, "remaining": 259_200.0}) == "72 hours were added, 3 d are left."
    said = done(
        "license",
        {"digest": "sha256:1", "active": "lic-a", "problems": ["lic-b did not answer"], "warnings": ["none"]},
    )
    assert said == "License sha256:1 is in force on lic-a.\nnone\nlic-b did not answer"
    state = {"backend": "lic-a", "state": "maint", "warning": None}
    assert done("state", state) == "lic-a is set to maint."
    assert done("state", {**state, "warning": "forgotten"}) == "lic-a is set to maint.\nforgotten"
