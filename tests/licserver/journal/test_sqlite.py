"""The journal in a SQLite file keeps the promise."""

from itertools import count

import pytest
import pytest_twisted
from twisted.internet import reactor

from licserver.journal.sqlite import create, open_journal
from tests.contract.journal import JournalContract, Opener
from tests.contract.journal_model import check_against_model


class TestSqliteJournal(JournalContract):
    """The contract, on a disk."""

    @pytest.fixture
    def opener(self, tmp_path) -> Opener:
        path = tmp_path / "acme.db"
        create(path, "acme")
        return lambda: open_journal(reactor, path, "acme")


@pytest_twisted.ensureDeferred
async def test_against_model(tmp_path):
    """Whatever three servers do in whatever order, the journal does what the model says."""
    numbers = count()

    def new_store() -> Opener:
        path = tmp_path / f"{next(numbers)}.db"
        create(path, "acme")
        return lambda: open_journal(reactor, path, "acme")

    await check_against_model(new_store, examples=25, steps=25)
