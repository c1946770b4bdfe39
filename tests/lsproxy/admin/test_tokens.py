"""Whose bearer token this is, and how often that must be worked out."""

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from lsproxy.admin.exchange import RefusedError
from lsproxy.admin.tokens import AT_ONCE, LONGEST_TOKEN, MOST_WAITING, TokenBook
from lsproxy.config.tokens import SALT_BYTES, add_token
from lsproxy.secretfile import SecretFileError


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tokens.yaml"
    add_token(path, "ops", "operator", "right", bytes(SALT_BYTES))
    return path


@pytest.fixture
def book(path):
    return TokenBook(reactor, reactor.getThreadPool(), path, bytes(32))


@pytest_twisted.ensureDeferred
async def test_a_right_token_has_a_name_and_a_role(book):
    """A wrong one has nobody."""
    found = await book.find("right")
    assert (found.name, found.role) == ("ops", "operator")
    assert await book.find("wrong") is None
    assert await book.find("x" * (LONGEST_TOKEN + 1)) is None


@pytest_twisted.ensureDeferred
async def test_a_token_is_worked_out_once(book):
    """From then on it is known at once."""
    assert book.known("right") is None
    await book.find("right")
    assert book.known("right").name == "ops"
    assert book.known("wrong") is None


@pytest_twisted.ensureDeferred
async def test_a_token_that_was_taken_out_is_none_at_once(book, path):
    """No reload is needed to lock somebody out."""
    await book.find("right")
    path.write_text("tokens: []\n")
    assert book.known("right") is None
    assert await book.find("right") is None


@pytest_twisted.ensureDeferred
async def test_a_token_that_was_added_counts_at_once(book, path):
    """Nor to let somebody in."""
    assert await book.find("new") is None
    add_token(path, "new", "viewer", "new", bytes(SALT_BYTES))
    assert (await book.find("new")).role == "viewer"


@pytest_twisted.ensureDeferred
async def test_nobody_is_let_in_by_a_file_others_may_read(book, path):
    """Also who was known before: what others may read is no secret."""
    await book.find("right")
    path.chmod(0o644)
    with pytest.raises(SecretFileError, match="open to others"):
        await book.find("right")


@pytest_twisted.ensureDeferred
async def test_without_a_file_there_are_no_tokens(tmp_path):
    """A missing file is an empty one."""
    book = TokenBook(reactor, reactor.getThreadPool(), tmp_path / "none.yaml", bytes(32))
    assert await book.find("right") is None


@pytest_twisted.ensureDeferred
async def test_a_flood_of_tokens_is_turned_away(book):
    """Only so many wait to be worked out; the others are told to come again."""
    asking = [Deferred.fromCoroutine(book.find(f"guess {n}")) for n in range(AT_ONCE + MOST_WAITING + 1)]
    outcomes = await gatherResults([one.addErrback(lambda failure: failure.value) for one in asking])
    refused = [one for one in outcomes if one is not None]
    assert [type(one) for one in refused] == [RefusedError]
    assert refused[0].reply.status == 429
