"""The client library before real sockets that are killed, silenced, cut and encrypted."""

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lsproxy.client import ClientError, LicenseClient, NoServer, Refused, Seat, SeatLost, SessionEnded
from tests.promises.reference import Reference
from tests.promises.small_server import Cluster


@contextlib.contextmanager
def cluster(members: int = 1, *, seats: int = 2, grace: float = 0.4, tls=None) -> Iterator[Cluster]:
    reference = Reference({"cad": seats}, resume=2.0, ttl=0.2, heartbeat=0.1, grace=grace)
    with Cluster(reference, members=members, tls=tls) as servers:
        yield servers


def client(servers: Cluster, **rest) -> LicenseClient:
    return LicenseClient(servers.server_list, **({"timeout": 5.0} | rest))


def eventually(is_so: Callable[[], object], seconds: float = 5.0) -> None:
    limit = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.005)


def held(servers: Cluster) -> int:
    return sum(len(session.seats) for session in servers.reference.sessions.values())


def ids(servers: Cluster, op: str) -> list[int]:
    return [message["id"] for message in servers.heard_requests if message["op"] == op]


def test_a_seat_is_held_and_returned():
    """Inside the `with` the server holds the seat, after it none, and the session is over after the client."""
    with cluster() as servers:
        with client(servers, app="cad 2027") as license_client:
            with license_client.checkout("cad", count=2) as seat:
                assert (seat.feature, seat.count, seat.version, seat.number) == ("cad", 2, "2027.0", 1)
                assert seat.expires == dt.date(2027, 12, 31)
                assert seat.is_trusted
                assert seat.lost is None
                seat.check()
                assert held(servers) == 1
            assert held(servers) == 0
            assert repr(seat) == "<Seat 1: 2 of cad 2027.0, returned>"
        assert servers.reference.sessions == {}


def test_a_refusal_has_its_code_and_sentence():
    """What the license does not allow is raised with the server's words."""
    with cluster() as servers, client(servers) as license_client:
        with pytest.raises(Refused, match="mesh is not licensed") as refused:
            license_client.checkout("mesh")
        assert refused.value.code == "unknown_feature"


def test_a_killed_server_is_not_noticed():
    """The active one dies, another takes over: same seat, trusted, and new ones are granted."""
    with cluster(2) as servers, client(servers) as license_client, license_client.checkout("cad") as seat:
        servers.kill(0)
        servers.take_over(1)
        assert license_client.checkout("cad").number == 2
        assert seat.number == 1
        assert seat.lost is None
        assert seat.is_trusted
        assert held(servers) == 2


def test_an_unanswered_checkout_is_repeated_with_its_id():
    """A server that dies with a checkout in its hands: the next one gets the same request and grants one seat."""
    with cluster(2) as servers, client(servers) as license_client:
        eventually(lambda: servers.reference.sessions)
        servers.is_silent = True
        seats: list[Seat] = []
        asking = threading.Thread(target=lambda: seats.append(license_client.checkout("cad")))
        asking.start()
        eventually(lambda: ids(servers, "checkout"))
        servers.is_silent = False
        servers.kill(0)
        servers.take_over(1)
        asking.join()
        assert len(set(ids(servers, "checkout"))) == 1
        assert seats[0].handle == ids(servers, "checkout")[0]
        assert held(servers) == 1


def test_a_standby_names_the_active_one():
    """not_active with an address: that one is dialed next, without a pause."""
    with cluster(3) as servers:
        servers.take_over(2)
        started = time.monotonic()
        with client(servers) as license_client, license_client.checkout("cad"):
            hellos = [message["attempt"] for message in servers.heard_requests if message["op"] == "hello"]
            assert hellos == [1, 2]
            assert time.monotonic() - started < 1.0


def test_a_silent_server_is_left_for_the_next():
    """A port that accepts and says nothing costs the reply timeout, not the checkout."""
    with cluster() as servers, socket.create_server(("127.0.0.1", 0)) as hung:
        both = f"{hung.getsockname()[1]}@127.0.0.1;{servers.server_list}"
        with LicenseClient(both, reply_timeout=0.2, timeout=5.0) as license_client:
            assert license_client.checkout("cad").is_trusted


def test_nobody_there_is_said_in_time():
    """With dead addresses a checkout ends at its timeout, and the sentence names each of them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with LicenseClient(f"{port}@127.0.0.1", timeout=0.3) as license_client:
        started = time.monotonic()
        with pytest.raises(NoServer, match=f"no license server answered in time: {port}@127.0.0.1: .*refused"):
            license_client.checkout("cad")
        assert time.monotonic() - started < 1.0


def test_a_checkout_given_up_is_returned():
    """A checkout whose answer came too late for its caller is checked in and holds nothing."""
    with cluster() as servers, client(servers) as license_client:
        eventually(lambda: servers.reference.sessions)
        servers.is_silent = True
        with pytest.raises(NoServer):
            license_client.checkout("cad", timeout=0.5)
        servers.is_silent = False
        servers.cut()
        eventually(lambda: ids(servers, "checkin"))
        assert held(servers) == 0
        assert len(ids(servers, "checkout")) == 1


def test_waiting_is_told_and_granted_in_turn():
    """A queued checkout tells its position and gets the seat that is returned; one that waited in vain is no_seats."""
    told: list[tuple[str, int]] = []
    with cluster(seats=1) as servers, client(servers, on_queued=lambda *news: told.append(news)) as license_client:
        seat = license_client.checkout("cad")
        threading.Timer(0.1, seat.checkin).start()
        second = license_client.checkout("cad", wait=5)
        assert second.number == 2
        eventually(lambda: told == [("cad", 1)])
        with pytest.raises(Refused) as refused:
            license_client.checkout("cad", wait=0.1)
        assert refused.value.code == "no_seats"


def test_trust_ends_before_the_seat_and_comes_back():
    """Cut off, a seat goes from trusted to its grace; a server that returns in time makes it trusted again."""
    with cluster(grace=30.0) as servers, client(servers) as license_client:
        seat = license_client.checkout("cad")
        servers.kill(0)
        eventually(lambda: not seat.is_trusted)
        assert seat.lost is None
        assert repr(seat) == "<Seat 1: 1 of cad 2027.0, in its grace>"
        servers.revive(0)
        eventually(lambda: seat.is_trusted)
        seat.check()


def test_after_the_grace_the_callback_is_told():
    """With no server for trust and grace the seat is lost, once, with the reason; the callback may check out anew."""
    told: list[tuple[Seat, str]] = []
    anew: list[Seat] = []

    def on_lost(seat: Seat, reason: str) -> None:
        told.append((seat, reason))
        servers.revive(0)
        anew.append(license_client.checkout("cad"))

    with cluster() as servers, client(servers, on_lost=on_lost) as license_client:
        seat = license_client.checkout("cad")
        servers.kill(0)
        eventually(lambda: anew)
        assert told == [(seat, "no license server could be reached for 1 s")]
        assert anew[0].number == 2
        with pytest.raises(SeatLost):
            seat.check()
        seat.checkin()
        assert len(told) == 1


def test_without_a_callback_the_next_call_raises():
    """A lost seat nobody was told of raises SeatLost at the next checkout, once, and at every check."""
    with cluster() as servers, client(servers) as license_client:
        seat = license_client.checkout("cad")
        servers.remove(seat.number)
        eventually(lambda: seat.lost)
        with pytest.raises(SeatLost, match="cad: the seat is lost: it was taken back: by an operator"):
            license_client.checkout("cad")
        second = license_client.checkout("cad")
        with pytest.raises(SeatLost):
            seat.check()
        seat.checkin()
        servers.remove(second.number)
        eventually(lambda: second.lost)
        with pytest.raises(SeatLost), second:
            pass


def test_another_exception_is_not_hidden_by_a_lost_seat():
    """Leaving the `with` by an exception raises that one, also when the seat was lost."""
    with cluster() as servers, client(servers) as license_client:

        def fail() -> None:
            with license_client.checkout("cad") as seat:
                servers.remove(seat.number)
                eventually(lambda: seat.lost)
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert held(servers) == 0


def test_a_forgotten_session_loses_its_seats():
    """A server that does not know the session (resumed false) ends them; the client goes on."""
    with cluster() as servers, client(servers) as license_client:
        seat = license_client.checkout("cad")
        servers.reference.sessions.clear()
        servers.cut()
        eventually(lambda: seat.lost == "the session was over")
        with pytest.raises(SeatLost):
            seat.checkin()
        assert license_client.checkout("cad").is_trusted


def test_an_ended_checkout_is_asked_anew():
    """A repeated checkout that lsproxy answers `ended` after a lost session is asked once more, under a new id."""
    with cluster() as servers, client(servers) as license_client:
        refused: list[int] = []

        def end_first(message: dict) -> dict | None:
            if message["op"] != "checkout" or refused:
                return None
            refused.append(message["id"])
            return {"ok": False, "error": "ended", "message": "this checkout is over"}

        servers.answer = end_first
        assert license_client.checkout("cad").handle > refused[0]


def test_superseded_stops_the_client():
    """When another connection has the session, seats are lost and every call says why."""
    with cluster() as servers, client(servers) as license_client:
        seat = license_client.checkout("cad")
        servers.send_all({"event": "superseded"})
        eventually(lambda: seat.lost)
        with pytest.raises(SeatLost, match="another connection took this session over"):
            license_client.checkout("cad")
        with pytest.raises(SessionEnded, match="another connection took this session over"):
            license_client.checkout("cad")


def test_a_refused_hello_is_raised():
    """An application that may have no session here learns it at once, in the server's words."""
    with cluster() as servers:
        servers.answer = lambda _: {"ok": False, "error": "excluded", "message": "ws1 may have no seats"}
        with client(servers) as license_client, pytest.raises(Refused, match="ws1 may have no seats"):
            license_client.checkout("cad")


def test_closing_is_bounded():
    """A silent server delays the end of the client by little."""
    with cluster() as servers:
        license_client = client(servers)
        license_client.checkout("cad")
        servers.is_silent = True
        started = time.monotonic()
        license_client.close()
        assert time.monotonic() - started < 4.5
        with pytest.raises(SessionEnded, match="the client was closed"):
            license_client.checkout("cad")


def test_a_closed_client_loses_its_seats_quietly():
    """Seats that were not returned before the client was closed are lost, and no callback is called."""
    told: list[str] = []
    with cluster() as servers:
        with client(servers, on_lost=lambda _, reason: told.append(reason)) as license_client:
            seat = license_client.checkout("cad")
        assert seat.lost == "the client was closed"
        assert not seat.is_trusted
        assert held(servers) == 0
        assert told == []


def test_many_threads_share_a_client():
    """Sixteen threads over five seats with waiting: never more than five, all served."""
    busy: set[int] = set()
    most: list[int] = []

    def work() -> None:
        for _ in range(5):
            with license_client.checkout("cad", wait=20) as seat:
                busy.add(seat.number)
                most.append(len(busy))
                time.sleep(0.002)
                busy.discard(seat.number)

    with cluster(seats=5) as servers, client(servers) as license_client:
        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(most) == 80
        assert max(most) <= 5
        assert held(servers) == 0


def test_the_session_id_stays_secret():
    """It is random in 128 bits, and neither errors nor reprs hold it."""
    with cluster() as servers, client(servers) as first, client(servers) as second:
        seats = [first.checkout("cad"), second.checkout("cad")]
        sessions = list(servers.reference.sessions)
        assert len(set(sessions)) == 2
        assert all(len(session) == 32 for session in sessions)
        servers.kill(0)
        with pytest.raises(NoServer) as problem:
            first.checkout("cad", timeout=0.2)
        shown = f"{problem.value!r}{seats!r}{first!r}{vars(first)!r}{vars(first._session)!r}"
        assert not any(session in shown for session in sessions)
        servers.revive(0)


def test_the_environment_names_the_servers(monkeypatch):
    """LSPROXY_LICENSE is the server list where none is given; without it the sentence says what to set."""
    with cluster() as servers:
        monkeypatch.setenv("LSPROXY_LICENSE", servers.server_list)
        with LicenseClient() as license_client:
            assert license_client.checkout("cad").is_trusted
    monkeypatch.delenv("LSPROXY_LICENSE")
    with pytest.raises(ClientError, match="set LSPROXY_LICENSE"):
        LicenseClient()


def certificate(folder) -> str:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lic-a")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "lic-a.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return str(path)


def test_tls(tmp_path):
    """Over TLS seats are had from a server whose certificate is trusted, and from no other."""
    path = certificate(tmp_path)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(path)
    with cluster(tls=server_side) as servers:
        with client(servers, tls=ssl.create_default_context(cafile=path)) as license_client:
            assert license_client.checkout("cad").is_trusted
        with (
            client(servers, tls=ssl.create_default_context(), timeout=0.3) as stranger,
            pytest.raises(NoServer, match="certificate"),
        ):
            stranger.checkout("cad")
