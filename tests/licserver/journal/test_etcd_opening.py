"""Which journals in etcd are made, opened and refused; TLS, users and what a person is told."""

import datetime as dt
import ipaddress

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.internet import reactor
from twisted.internet.task import deferLater

from licserver.journal.etcd_keys import Published, end_of
from licserver.journal.etcd_messages import Answer, Compaction, Range, RangeReply, Txn, TxnReply, put
from licserver.journal.etcd_opening import accept_copy, create, open_journal, raise_epoch
from licserver.journal.etcd_place import Access, EtcdPlace
from licserver.journal.interface import Compacted, JournalError, JournalUnusable, StaleEpoch
from lsproxy.net.address import Address
from tests.contract.journal import fill, member, take
from tests.faults.process import wait_for
from tests.faults.system import free_port
from tests.licserver.journal.etcd_cluster import EtcdCluster
from tests.licserver.journal.etcd_journals import new_journal, through

pytestmark = pytest.mark.etcd
NOW = dt.datetime.now(dt.UTC)
PASSWORD = "correct horse"  # noqa: S105 the example


@pytest.fixture(scope="module")
def cluster():
    with EtcdCluster(1) as cluster:
        yield cluster


async def refusal(place: EtcdPlace, access: Access = Access(), name: str = "acme") -> str:  # noqa: B008 it is frozen
    with pytest.raises(JournalUnusable) as refused:
        await open_journal(reactor, place, access, name)
    return str(refused.value)


@pytest_twisted.ensureDeferred
async def test_what_is_no_journal_of_this_server(cluster: EtcdCluster):
    """A missing journal, one of another name, and other keys are refused, and nothing is ever made over them."""
    place = cluster.place("nowhere")
    assert "there is no journal in etcd://127.0.0.1" in await refusal(place)
    prefix = await new_journal(cluster)
    assert "belongs to acme, not to other" in await refusal(cluster.place(prefix), name="other")
    with pytest.raises(JournalUnusable, match="is not empty"):
        await create(reactor, cluster.place(prefix), Access(), "acme")
    journal = await through(cluster, [0], prefix)
    keys = journal._keys
    for meta, told in (
        (b"x", "is no journal"),
        (b'{"product":"x","schema":1,"journal_id":"","server_name":"acme"}', "is x's"),
        (b'{"product":"licserver","schema":2,"journal_id":"","server_name":"acme"}', "has schema 2"),
    ):
        await journal._gateway.ask("/v3/kv/put", put(keys.meta, meta).request_put, TxnReply)
        assert told in await refusal(cluster.place(prefix))
    await journal.close()


def nobody() -> Address:
    return Address("127.0.0.1", free_port())


@pytest_twisted.ensureDeferred
async def test_nobody_there():
    """A cluster that does not answer is named, with the reason."""
    place = EtcdPlace((nobody(),), "acme")
    told = await refusal(place)
    assert told.startswith(f"the journal {place} does not answer: etcd at ")
    assert "refused" in told


@pytest_twisted.ensureDeferred
async def test_copy(cluster: EtcdCluster):
    """Keys that came from another cluster are refused until a person accepts them, and then go on."""
    prefix = await new_journal(cluster)
    journal = await through(cluster, [0], prefix)
    await take(journal, "lic-a")
    await journal._gateway.ask("/v3/kv/put", put(journal._keys.place, b"another").request_put, TxnReply)
    assert "is a copy of a journal from another etcd cluster" in await refusal(cluster.place(prefix))
    await journal.join(member("lic-a"))
    with pytest.raises(JournalUnusable, match="is in use by lic-a; stop"):
        await accept_copy(reactor, cluster.place(prefix), Access())
    await journal.leave(member("lic-a"))
    await accept_copy(reactor, cluster.place(prefix), Access())
    again = await through(cluster, [0], prefix)
    assert (await again.claim()).epoch == 1
    for each in (journal, again):
        await each.close()


@pytest_twisted.ensureDeferred
async def test_raised_epoch(cluster: EtcdCluster):
    """A restored journal goes on above the epochs that were seen, given up."""
    prefix = await new_journal(cluster)
    journal = await through(cluster, [0], prefix)
    await take(journal, "lic-a")
    await raise_epoch(reactor, cluster.place(prefix), Access(), 7)
    await raise_epoch(reactor, cluster.place(prefix), Access(), 5)
    with pytest.raises(StaleEpoch):
        await journal.append(1, 1, b"x", 1.0)
    claim = await journal.claim()
    assert (claim.epoch, claim.holder) == (7, None)
    assert (await take(journal, "lic-b")).epoch == 8
    await journal.close()


@pytest_twisted.ensureDeferred
async def test_one_epoch_twice(cluster: EtcdCluster):
    """A holder from before a copy was restored does not write as the holder of the same epoch after it."""
    prefix = await new_journal(cluster)
    before, after = await through(cluster, [0], prefix), await through(cluster, [0], prefix)
    await take(before, "lic-a")
    await before.append(1, 1, b"x", 1.0)
    await after._reader.txn(Txn([], [put(before._keys.epoch, b"0")]))
    assert (await take(after, "lic-b")).epoch == 1
    for write in (before.append(1, 2, b"y", 2.0), before.confirm(1, 2.0), before.release(1, None, 2.0),
                  before.write_part(1, 1, 0, b"p"), before.publish(1, 1, 1)):  # fmt: skip
        with pytest.raises(StaleEpoch, match="epoch 1 is lic-b's in this journal"):
            await write
    await after.append(1, 2, b"z", 2.0)
    for each in (before, after):
        await each.close()


@pytest_twisted.ensureDeferred
async def test_two_clusters(cluster: EtcdCluster):
    """A list that names members of two clusters is no place for a journal: only those of the first are believed."""
    with EtcdCluster(1) as other:
        prefix = await new_journal(cluster)
        place = EtcdPlace((cluster.addresses[0], other.addresses[0]), prefix)
        journal = await open_journal(reactor, place, Access(), "acme")
        journal._gateway.turn_from(0)
        assert (await journal.claim()).epoch == 0
        assert journal._gateway.turn % 2 == 0
        await journal.close()


@pytest_twisted.ensureDeferred
async def test_long_batches_and_parts(cluster: EtcdCluster):
    """A batch or part beyond what etcd takes at once is kept and read whole, found again, and deleted with its slot."""
    prefix = await new_journal(cluster)
    journal, other = await through(cluster, [0], prefix), await through(cluster, [0], prefix)
    await take(journal, "lic-a")
    long = bytes(range(256)) * 14_000
    for _ in range(2):
        await journal.append(1, 1, long, 1.0)
    await fill(journal, 1, 1)
    assert [entry.batch for entry in await other.read(0, 10)] == [long, b"batch 2"]
    for part in (b"draft" + long, long):
        await journal.write_part(1, 2, 0, part)
    await journal.publish(1, 2, 1)
    snapshot = await other.snapshot()
    assert snapshot is not None
    assert snapshot.parts == [long]
    await fill(journal, 1, 1)
    await journal.publish(1, 3, 0)
    big = journal._keys.big(b"")
    assert await keys_under(journal, big) == []
    for each in (journal, other):
        await each.close()


@pytest_twisted.ensureDeferred
async def test_long_batch_of_an_older_epoch(cluster: EtcdCluster):
    """Of a batch in pieces nothing is written under an epoch that is over."""
    prefix = await new_journal(cluster)
    journal = await through(cluster, [0], prefix)
    await take(journal, "lic-a")
    await take(journal, "lic-b")
    for refused in (journal.append(1, 1, bytes(2_000_000), 1.0), journal.write_part(1, 0, 0, bytes(2_000_000))):
        with pytest.raises(StaleEpoch):
            await refused
    assert await keys_under(journal, journal._keys.big(b"")) == []
    await journal.close()


@pytest_twisted.ensureDeferred
async def test_snapshot_at_a_forgotten_revision(cluster: EtcdCluster):
    """A snapshot that etcd forgot while it was read is begun anew, never put together from two."""
    prefix = await new_journal(cluster)
    journal = await through(cluster, [0], prefix)
    await take(journal, "lic-a")
    slot = await fill(journal, 1, 1)
    await journal.write_part(1, slot, 0, b"part")
    await journal.publish(1, slot, 1)
    gateway = journal._gateway
    forgotten = gateway.revision - 1
    await gateway.ask("/v3/kv/compaction", Compaction(gateway.revision), Answer)
    with pytest.raises(Compacted):
        await journal._reader._snapshot(Published(slot, 1, 1), forgotten)
    found = await journal.snapshot()
    assert found is not None
    assert found.parts == [b"part"]
    await journal.close()


async def keys_under(journal, prefix: bytes) -> list[bytes]:
    found = await journal._gateway.ask("/v3/kv/range", Range(prefix, end_of(prefix), keys_only=True), RangeReply)
    return [kv.key for kv in found.kvs]


@pytest_twisted.ensureDeferred
async def test_more_than_one_answer_holds(cluster: EtcdCluster):
    """Entries and parts of many mebibytes come in as many answers as it takes."""
    prefix = await new_journal(cluster)
    journal = await through(cluster, [0], prefix)
    await take(journal, "lic-a")
    batch = bytes(1024 * 1024)
    for slot in range(1, 9):
        await journal.append(1, slot, batch, 1.0)
    for number in range(8):
        await journal.write_part(1, 8, number, batch)
    await journal.publish(1, 8, 8)
    found = await journal.snapshot()
    assert found is not None
    assert [len(part) for part in found.parts] == [len(batch)] * 8
    for slot in range(9, 17):
        await journal.append(1, slot, batch, 1.0)
    read = 8
    while read < 16:
        entries = await journal.read(read, 100)
        assert [entry.slot for entry in entries] == list(range(read + 1, read + 1 + len(entries)))
        read += len(entries)
        assert entries
    await journal.close()


# --- TLS and users ---


def certify(folder, name: str, issuer=None):
    """A certificate for 127.0.0.1 without a common name, as etcd's gateway wants it, and its key; PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
    issuer_name, issuer_key = issuer or (subject, key)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer_name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOW - dt.timedelta(hours=1)).not_valid_after(NOW + dt.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    if issuer is not None:
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    path = folder / f"{name}.key"
    path.touch(0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return subject, key


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("papers")
    ca = certify(folder, "ca")
    certify(folder, "member", ca)
    certify(folder, "server", ca)
    certify(folder, "stranger")
    return folder


@pytest.fixture(scope="module")
def private(papers):
    """A cluster that speaks TLS only, and only with those that show a certificate."""
    options = ["--cert-file", "member.pem", "--key-file", "member.key", "--trusted-ca-file", "ca.pem"]
    options = [option if option.startswith("--") else str(papers / option) for option in options]
    with EtcdCluster(1, [*options, "--client-cert-auth"], "https") as cluster:
        wait_for(lambda: "serving client requests" in cluster.members[0].log, "etcd serves")
        yield cluster


@pytest_twisted.ensureDeferred
async def test_tls(private: EtcdCluster, papers):
    """Over TLS, with this server's certificate shown, the journal is what it is without; a watch too."""
    access = Access(papers / "ca.pem", papers / "server.pem", papers / "server.key")
    prefix = await new_journal(private, access)
    journal = await open_journal(reactor, private.place(prefix), access, "acme")
    seen = []
    journal.watch(seen.append)
    await take(journal, "lic-a")
    await fill(journal, 1, 3)
    while not (seen and seen[-1].newest_slot == 3):
        await deferLater(reactor, 0.01)
    await journal.close()


@pytest_twisted.ensureDeferred
async def test_tls_refused(private: EtcdCluster, papers):
    """A member that another CA signed, and a server that shows no certificate, are told apart from a dead member."""
    place = private.place("acme")
    shown = (papers / "server.pem", papers / "server.key")
    assert "is signed by none of the trusted CAs" in await refusal(place, Access(papers / "stranger.pem", *shown))
    assert "does not answer" in await refusal(place, Access(papers / "ca.pem"))
    missing = await refusal(place, Access(papers / "none.pem"))
    assert missing == f"etcd: CA file {papers / 'none.pem'} cannot be read: No such file or directory"


@pytest.fixture(scope="module")
def guarded():
    """A cluster with authentication, whose tokens run out after a second; user `lic` may use /journal-…/ keys."""
    with EtcdCluster(1, ["--auth-token-ttl", "1"]) as cluster:

        def call(path: str, **request: object) -> None:
            assert cluster.call(0, f"/v3/auth/{path}", request) is not None, (path, request)

        call("user/add", name="root", password=PASSWORD)
        call("role/add", name="root")
        call("user/grant", user="root", role="root")
        for user in ("lic", "stranger"):
            call("user/add", name=user, password=PASSWORD)
            call("role/add", name=user)
            call("user/grant", user=user, role=user)
        key, end = "L2pvdXJuYWwt", "L2pvdXJuYWwu"  # /journal- to /journal.
        call("role/grant", name="lic", perm={"permType": "READWRITE", "key": key, "range_end": end})
        call("enable")
        yield cluster


@pytest_twisted.ensureDeferred
async def test_user(guarded: EtcdCluster):
    """With a user and a password everything goes, also after the token has run out; history is forgotten too."""
    access = Access(user="lic", password=PASSWORD)
    prefix = await new_journal(guarded, access)
    journal = await open_journal(reactor, guarded.place(prefix), access, "acme")
    await take(journal, "lic-a")
    await journal.join(member("lic-a"))
    await deferLater(reactor, 2.5)
    seen = []
    journal.watch(seen.append)
    await fill(journal, 1, 2)
    noted = journal._history
    assert noted is not None
    journal._history = noted[0] - 61, noted[1]
    await journal.confirm(1, 3.0)
    assert [running for _, running in await journal.members()] == [True]
    while not (seen and seen[-1].newest_slot == 2):
        await deferLater(reactor, 0.01)
    await journal.close()


@pytest_twisted.ensureDeferred
async def test_user_refused(guarded: EtcdCluster):
    """No user, a wrong password and a user without the permission are each told; no password is."""
    place = guarded.place("journal-x")
    assert "wants to know a user" in await refusal(place)
    wrong = await refusal(place, Access(user="lic", password=PASSWORD.replace("horse", "battery")))
    assert "does not let user lic in" in wrong
    assert "battery" not in wrong
    stranger = await refusal(place, Access(user="stranger", password=PASSWORD))
    assert "does not allow user stranger to read and write the keys under /journal-x/" in stranger
    assert PASSWORD not in repr(Access(user="lic", password=PASSWORD))


@pytest_twisted.ensureDeferred
async def test_making_with_nobody_there():
    """A cluster that does not answer fails `create` with a sentence that is no refusal."""
    with pytest.raises(JournalError, match="does not answer") as unknown:
        await create(reactor, EtcdPlace((nobody(),), "acme"), Access(), "acme")
    assert type(unknown.value) is JournalError
