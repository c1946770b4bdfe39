"""Files that are renewed while a daemon runs: when they are taken, and what is said of those that cannot be."""

import shutil

import pytest
import pytest_twisted
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher

from lsproxy.errors import LsproxyError
from lsproxy.net import renewal
from lsproxy.net.renewal import LOOK_SECONDS, Lookout, Renewed
from lsproxy.net.tls import client_tls, server_tls, wrap_client, wrap_server

NAME = "a.example.com"


class Unfit(LsproxyError):
    """A word that is refused."""


def read_word(path):
    try:
        word = path.read_text()
    except OSError as error:
        raise Unfit(str(error.strerror)) from error
    if word.startswith("bad"):
        raise Unfit(f"{word} is no word")
    return word


@pytest.fixture
def said():
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [formatEvent(event) for event in events if "event" in event]
    globalLogPublisher.removeObserver(events.append)


@pytest.fixture
def word(tmp_path):
    path = tmp_path / "word"
    path.write_text("one")
    return path


def renewed(path):
    return Renewed("the word", [path], lambda: read_word(path))


def replace(path, text):
    new = path.with_name("new")
    new.write_text(text)
    new.replace(path)


def test_unchanged(word, said):
    """What does not change is read once, and nothing is said."""
    it = renewed(word)
    assert [it.look() for _ in range(3)] == [False] * 3
    assert it.value == "one"
    assert said() == []


def test_changed(word, said):
    """A file that has changed is taken at the second look, once."""
    it = renewed(word)
    replace(word, "two")
    assert [it.look() for _ in range(3)] == [False, True, False]
    assert it.value == "two"
    assert said() == ["the word was renewed"]


def test_still_changing(word):
    """A file that changes from look to look is left until it rests."""
    it = renewed(word)
    for text in ("a", "b", "c"):
        replace(word, text)
        assert not it.look()
    assert it.look()
    assert it.value == "c"


@pytest.mark.parametrize("how", ["unfit", "missing"])
def test_unfit(word, said, how):
    """What cannot be used is said once, the old value goes on, and what is mended is taken."""
    it = renewed(word)
    if how == "unfit":
        replace(word, "bad")
    else:
        word.unlink()
    assert not any(it.look() for _ in range(5))
    assert it.value == "one"
    (sentence,) = said()
    assert sentence.startswith("the word was changed and cannot be used, the old one goes on: ")
    replace(word, "three")
    assert [it.look(), it.look()] == [False, True]
    assert it.value == "three"


def test_first_reading(tmp_path):
    """What cannot be read at the start is refused."""
    with pytest.raises(Unfit):
        renewed(tmp_path / "nothing")


def test_becoming(word, tmp_path):
    """Other files take the place of those before, unless they cannot be read."""
    it = renewed(word)
    other = tmp_path / "other"
    other.write_text("bad")
    with pytest.raises(Unfit):
        it.become("another", [other], lambda: read_word(other))
    replace(word, "two")
    assert [it.look(), it.look()] == [False, True]
    other.write_text("fit")
    it.become("another", [other], lambda: read_word(other))
    assert it.value == "fit"
    replace(word, "three")
    assert not any(it.look() for _ in range(3))


def test_lookout():
    """It looks at its own intervals, from start to stop."""
    clock, looks = Clock(), []
    lookout = Lookout(clock, lambda: looks.append(clock.seconds()))
    lookout.start()
    for _ in range(4):
        clock.advance(LOOK_SECONDS / 2)
    assert looks == [LOOK_SECONDS, 2 * LOOK_SECONDS]
    lookout.stop()
    lookout.stop()
    assert clock.getDelayedCalls() == []


def serial(protocol):
    """The serial number of the certificate that the server of a connection showed."""
    handle = protocol.transport.getHandle()
    assert isinstance(handle, SSL.Connection)
    return handle.get_peer_certificate().get_serial_number()


@pytest_twisted.ensureDeferred
async def test_server_certificate(net, authority, monkeypatch, said):
    """A renewed certificate is shown to new connections, without a signal; one without its key is not, said once."""
    monkeypatch.setattr(renewal, "LOOK_SECONDS", 0.02)
    certificate, key = authority.issue(NAME)
    tls = server_tls(certificate, key)
    port = await net.listen(wrap=lambda endpoint: wrap_server(reactor, endpoint, tls))
    believed = client_tls(NAME, authority.file)

    async def dial():
        return await net.dial(port, wrap=lambda endpoint: wrap_client(reactor, endpoint, believed))

    first = await dial()
    new_certificate, new_key = authority.issue("renewed", names=(NAME,))
    shutil.copy(new_certificate, certificate)
    await net.until(lambda: len(said()) == 1)
    assert f"key {key} does not belong to certificate {certificate}" in said()[0]
    second = await dial()
    assert serial(first) == serial(second)
    shutil.copy(new_key, key)
    await net.until(lambda: len(said()) == 2)
    assert said()[1] == f"the certificate {certificate} was renewed"
    third = await dial()
    assert serial(third) != serial(first)
    assert not first.is_lost
    second.transport.write(b"still there")
    await net.until(lambda: any(b"still there" in each.received for each in net.accepted))
