"""Who may ask what, and from where."""

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from lsproxy.admin.access import Access
from lsproxy.admin.exchange import Asked, Peer, RefusedError
from lsproxy.admin.forwarded import seen
from lsproxy.admin.login import COOKIE, Logins
from lsproxy.admin.throttle import FREE
from lsproxy.admin.tokens import TokenBook
from lsproxy.config.tokens import SALT_BYTES, add_token

NETWORK = Peer("192.0.2.1")


class Door:
    """An Access and what it is made of."""

    def __init__(self, folder):
        self.path = path = folder / "tokens.yaml"
        add_token(path, "ops", "operator", "of an operator", bytes(SALT_BYTES))
        add_token(path, "eve", "viewer", "of a viewer", bytes(SALT_BYTES))
        self.clock = Clock()
        self.logins = Logins(self.clock.seconds, iter("abcdefgh").__next__)
        tokens = TokenBook(reactor, reactor.getThreadPool(), path, bytes(32))
        self.access = Access(self.clock.seconds, tokens, self.logins)

    async def admit(self, need, *, method="GET", peer=NETWORK, is_private=False, **headers):
        asked = Asked(
            method=method, path="/", headers={"host": "127.0.0.1:27080", **headers}, peer=peer, is_private=is_private
        )
        return await self.access.admit(asked, need)

    async def refused(self, need, **asked):
        with pytest.raises(RefusedError) as refused:
            await self.admit(need, **asked)
        return refused.value.reply.status


@pytest.fixture
def lines():
    """What the log says of guesses."""
    said = []

    def observe(event):
        if event.get("event") == "guessing":
            said.append(event["log_text"])

    globalLogPublisher.addObserver(observe)
    yield said
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def door(tmp_path):
    return Door(tmp_path)


@pytest_twisted.ensureDeferred
async def test_the_unix_socket_is_an_operators(door):
    """Its permissions have decided; the account is the caller's name."""
    caller = await door.admit("operator", method="POST", peer=Peer("process 7 on the unix socket", "alice"))
    assert (caller.name, caller.role) == ("alice", "operator")


@pytest_twisted.ensureDeferred
async def test_a_token_has_its_role(door):
    """A viewer's reads, an operator's reads and changes."""
    assert (await door.admit("viewer", authorization="Bearer of a viewer")).name == "eve"
    assert (await door.admit("operator", authorization="bearer of an operator")).name == "ops"
    assert await door.refused("operator", authorization="Bearer of a viewer") == 403


@pytest_twisted.ensureDeferred
async def test_without_a_token_only_what_needs_none(door):
    """Neither an empty header nor another scheme is a token."""
    assert await door.admit("nobody") is None
    for authorization in ("", "Bearer", "Bearer  ", "Basic b3BzOng="):
        assert await door.refused("viewer", authorization=authorization) == 401


@pytest_twisted.ensureDeferred
async def test_the_cookie_reads_and_changes_nothing(door):
    """So no other site has anything changed through it."""
    cookie = f"{COOKIE}={door.logins.welcome('ops', 'operator')}"
    caller = await door.admit("viewer", cookie=cookie)
    assert (caller.name, caller.role) == ("ops", "viewer")
    assert await door.refused("operator", cookie=cookie) == 403
    assert await door.refused("viewer", cookie=cookie, method="POST") == 401
    assert await door.refused("viewer", cookie=f"{COOKIE}=guess") == 401
    assert await door.refused("viewer", cookie="\x00;=;=") == 401


@pytest_twisted.ensureDeferred
async def test_a_token_that_is_taken_out_takes_its_cookies_along(door):
    """And those of links that were asked for by token; a link of the unix socket stays."""
    entry = await door.access.owner("of a viewer", "192.0.2.1")
    by_token = f"{COOKIE}={door.access.welcome(entry)}"
    caller = await door.admit("operator", authorization="Bearer of an operator")
    by_link_of_token = f"{COOKIE}={door.access.follow(door.logins.code('ops', caller.tokens))[0]}"
    unused = door.logins.code("ops", caller.tokens)
    assert (await door.admit("viewer", cookie=by_link_of_token)).name == "ops"
    assert (await door.admit("viewer", cookie=by_token)).name == "eve"
    door.path.write_text("tokens: []\n")
    assert await door.refused("viewer", cookie=by_token) == 401
    assert await door.refused("viewer", cookie=by_link_of_token) == 401
    assert door.access.follow(unused) is None
    by_link = f"{COOKIE}={door.access.follow(door.logins.code('link'))[0]}"
    assert (await door.admit("viewer", cookie=by_link)).name == "link"


@pytest_twisted.ensureDeferred
async def test_wrong_tokens_are_told_once_a_minute(door, lines):
    """By where they came from; who has to wait is told of, too, and another source by itself."""
    for _ in range(FREE + 2):
        await door.refused("viewer", authorization="Bearer a guess")
    assert lines == ["a wrong token came from 192.0.2.1"]
    await door.refused("viewer", authorization="Bearer a guess", peer=Peer("192.0.2.2"))
    assert lines[1:] == ["a wrong token came from 192.0.2.2"]
    door.clock.advance(60.0)
    await door.refused("viewer", authorization="Bearer a guess")
    assert lines[2:] == ["a wrong token came from 192.0.2.1"]
    for _ in range(3):
        await door.refused("viewer", authorization="Bearer a guess")
    assert len(lines) == 3


@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:27080", "", "127.0.0.1.attacker.example"])
@pytest_twisted.ensureDeferred
async def test_a_name_that_another_controls_is_not_answered_to(door, host):
    """DNS rebinding ends here, even with a right token."""
    assert await door.refused("viewer", authorization="Bearer of a viewer", host=host) == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:27080", "[::1]:27080", "127.9.9.9:1"])
@pytest_twisted.ensureDeferred
async def test_names_of_this_machine_are_answered_to(door, host):
    """Loopback in any spelling."""
    assert await door.admit("viewer", authorization="Bearer of a viewer", host=host) is not None


@pytest_twisted.ensureDeferred
async def test_with_tls_the_certificate_has_decided_the_name(door):
    """Any host name is fine."""
    asked = {"authorization": "Bearer of a viewer", "host": "licenses.example.com"}
    assert await door.admit("viewer", is_private=True, **asked) is not None


@pytest_twisted.ensureDeferred
async def test_guessing_is_paused_per_source(door):
    """After some wrong tokens even a right one waits, unless it was known before."""
    await door.admit("viewer", authorization="Bearer of a viewer")
    for _ in range(FREE + 1):
        assert await door.refused("viewer", authorization="Bearer guess") == 401
    assert await door.refused("viewer", authorization="Bearer of an operator") == 429
    assert await door.admit("viewer", authorization="Bearer of a viewer") is not None
    assert await door.admit("viewer", authorization="Bearer of an operator", peer=Peer("192.0.2.2")) is not None


@pytest_twisted.ensureDeferred
async def test_the_pause_ends(door):
    """Then a right token is right again, and the count begins anew."""
    for _ in range(FREE + 1):
        await door.refused("viewer", authorization="Bearer guess")
    door.clock.advance(1)
    assert await door.admit("viewer", authorization="Bearer of an operator") is not None
    assert await door.refused("viewer", authorization="Bearer guess") == 401


@pytest_twisted.ensureDeferred
async def test_forms_of_the_panel_have_the_role_of_the_login(door):
    """Whoever comes by a bearer token, or over the unix socket, reads the panel and has no forms."""

    async def visitor(peer=NETWORK, **headers):
        headers = {"host": "127.0.0.1", **headers}
        return await door.access.visitor(Asked(method="POST", path="/", headers=headers, peer=peer))

    cookie = door.logins.welcome("ops", "operator")
    visiting = await visitor(cookie=f"{COOKIE}={cookie}")
    assert (visiting.caller.name, visiting.caller.role) == ("ops", "operator")
    assert visiting.form == door.logins.form_token(cookie)
    for found in (
        await visitor(authorization="Bearer of an operator"),
        await visitor(Peer("process 7 on the unix socket", "alice")),
    ):
        assert (found.caller.role, found.form) == ("viewer", None)
    with pytest.raises(RefusedError):
        await visitor()
    with pytest.raises(RefusedError):
        await visitor(host="attacker.example", cookie=f"{COOKIE}={cookie}")


@pytest_twisted.ensureDeferred
async def test_behind_a_proxy_of_this_machine_each_client_pauses_for_itself(door):
    """Who guesses from outside locks nobody else out."""

    async def guess(client):
        behind = seen("127.0.0.1", {"x-forwarded-for": client}, is_private=False)
        asked = Asked(
            method="GET",
            path="/",
            headers={"host": "127.0.0.1", "authorization": "Bearer wrong"},
            peer=Peer("127.0.0.1"),
            seen=behind,
        )
        with pytest.raises(RefusedError) as refused:
            await door.access.admit(asked, "viewer")
        return refused.value.reply.status

    assert {await guess("192.0.2.7") for _ in range(9)} == {401, 429}
    assert await guess("192.0.2.8") == 401
