"""A server goes on only from the journal it has seen, no older than that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licserver.errors import LicserverError
from licserver.state import SeenState

ONE, OTHER = "11" * 16, "22" * 16


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lic-a.state"


def test_nothing_seen(path):
    """A server that has seen nothing takes any journal, and writes nothing by asking."""
    assert SeenState(path, "acme").check(ONE, 0, 0) is None
    assert not path.exists()


def test_remembered(path):
    """What was remembered counts after a restart."""
    SeenState(path, "acme").remember(ONE, 9, 0)
    state = SeenState(path, "acme")
    assert state.check(ONE, 9, 0) is None
    assert state.check(ONE, 10, 0) is None
    assert state.check(ONE, 7, 0) == (
        f"the journal {ONE} of acme is older than what this server has seen (epoch 7 < 9): a copy or an old backup; "
        "`licserver journal accept -c FILE` goes on from it knowingly"
    )
    assert "is not the one this server has seen" in str(state.check(OTHER, 10, 0))


def test_written_rarely(path):
    """The file is written only when the epoch has risen, and only its owner may read it."""
    state = SeenState(path, "acme")
    state.remember(ONE, 3, 0)
    before = path.stat()
    assert before.st_mode & 0o777 == 0o600
    state.remember(ONE, 3, 0)
    state.remember(ONE, 2, 0)
    assert path.stat().st_ino == before.st_ino
    assert SeenState(path, "acme").check(ONE, 2, 0) is not None
    assert list(path.parent.iterdir()) == [path]


def test_older_within_an_epoch(path):
    """A copy that was taken in this very epoch is older where it has fewer slots."""
    state = SeenState(path, "acme")
    state.remember(ONE, 3, 100)
    state.remember(ONE, 3, 90)
    assert SeenState(path, "acme").check(ONE, 3, 100) is None
    assert SeenState(path, "acme").check(ONE, 4, 0) is None
    assert "is older than what this server has seen (slot 99 < 100 of epoch 3)" in str(state.check(ONE, 3, 99))


def test_identity(path):
    """A file has one identity for as long as it is there; a lost one, and an accepted journal, have another."""
    state = SeenState(path, "acme")
    state.remember(ONE, 3, 0)
    assert SeenState(path, "acme").identity == state.identity
    assert SeenState.accept(path, "acme", ONE, 3).identity != state.identity
    path.unlink()
    assert SeenState(path, "acme").identity != state.identity


def test_a_file_without_an_identity(path):
    """One that says less is believed for what it says, and has an identity from the next epoch on."""
    path.write_text(f'{{"server_name":"acme","journal":"{ONE}","epoch":3}}')
    state = SeenState(path, "acme")
    assert state.check(ONE, 2, 0) is not None
    state.remember(ONE, 4, 7)
    assert SeenState(path, "acme").identity == state.identity != ""


def test_accepted(path):
    """An older or another journal is gone on from once it was accepted."""
    SeenState(path, "acme").remember(ONE, 9, 0)
    assert SeenState.accept(path, "acme", OTHER, 4).check(OTHER, 4, 0) is None
    assert SeenState(path, "acme").check(ONE, 9, 0) is not None


def test_accepted_over_a_damaged_file(path):
    """A damaged file is refused with the way out, which works."""
    path.write_text("{")
    with pytest.raises(LicserverError, match=r"is damaged; .*journal accept"):
        SeenState(path, "acme")
    assert SeenState.accept(path, "acme", ONE, 1).check(ONE, 1, 0) is None


def test_other_servers_file(path):
    """The file of another server name is refused."""
    SeenState(path, "acme").remember(ONE, 9, 0)
    with pytest.raises(LicserverError, match="belongs to acme, not to other"):
        SeenState(path, "other")


def test_not_writable(path):
    """What cannot be written is not remembered, and said."""
    state = SeenState(path.parent / "none" / "lic-a.state", "acme")
    with pytest.raises(LicserverError, match="cannot be written: No such file"):
        state.remember(ONE, 9, 0)
    assert state.check(ONE, 1, 0) is None


def test_not_readable(path):
    """A path that cannot be read is said."""
    path.mkdir()
    with pytest.raises(LicserverError, match="cannot be read: Is a directory"):
        SeenState(path, "acme")


@given(st.lists(st.integers(0, 30), min_size=1))
def test_highest_counts(tmp_path_factory, epochs):
    """Of all epochs remembered the highest counts."""
    path = tmp_path_factory.mktemp("state") / "s"
    for epoch in epochs:
        SeenState(path, "acme").remember(ONE, epoch, 0)
    state = SeenState(path, "acme")
    assert state.check(ONE, max(epochs), 0) is None
    assert state.check(ONE, max(epochs) - 1, 0) is not None


def test_the_epoch_of_another_journal_is_not_known(path):
    """What was seen is told of the journal it was seen of."""
    seen = SeenState(path, "acme")
    assert seen.epoch_of(ONE) == 0
    seen.remember(ONE, 7, 0)
    assert (seen.epoch_of(ONE), seen.epoch_of(OTHER)) == (7, 0)
