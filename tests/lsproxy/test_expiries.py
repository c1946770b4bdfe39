"""Who is told of license files that expire: the picture of the pool, the events, at a start and once."""

from datetime import UTC, datetime, timedelta

import pytest_twisted
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet import reactor
from twisted.internet.task import Clock

from lsproxy.config import model
from lsproxy.expiries import LOOK_SECONDS, Expiries
from lsproxy.license.signature import sign
from lsproxy.net.address import Address
from lsproxy.proxy.build import build_pool, plan_pool
from lsproxy.proxy.memory import InMemory

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class House:
    """Pools that never start, of the configurations given, and what they announce."""

    def __init__(self, **pools):
        self.told = []
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.pools = {
            name: build_pool(
                reactor,
                plan_pool(reactor, name, config, lambda: 0.5),
                InMemory(),
                lambda: 0.5,
                lambda event, pool, message, details: self.told.append((event, pool, message, details)),
            )
            for name, config in pools.items()
        }
        self.expiries = Expiries(self.clock, lambda: self.pools, self.clock.seconds)


def licserver(folder, *lines):
    vendor = Ed25519PrivateKey.generate()
    key = vendor.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "acme.pub").write_bytes(key)
    token = folder / "operator.token"
    token.touch(0o600)
    token.write_text("secret of a test")
    text = "\n".join(["SERVER lic-a HOSTNAME=lic-a", "VENDOR acme", *lines, ""])
    (folder / "acme.lic").write_text(sign(text, "acme.lic", vendor))
    return model.SeatPool(
        kind="licserver",
        server_name="acme-licenses",
        license_file=folder / "acme.lic",
        vendor_keys={"acme": folder / "acme.pub"},
        backends={name: model.SeatBackend(address=Address("127.0.0.1", 27101)) for name in ("lic-a", "lic-b")},
        token_file=token,
    )


def flexnet(folder, *lines):
    (folder / "mcad.lic").write_text("\n".join(["SERVER fn-a 02a1b2c3d4e5 27000", "VENDOR mcad PORT=27001", *lines]))
    ports = {"lmgrd": Address("127.0.0.1", 27000), "vendor": Address("127.0.0.1", 27001)}
    return model.RelayPool(
        kind="flexnet", license_file=folder / "mcad.lic", backends={"fn-a": model.RelayBackend(ports=ports)}
    )


def day(days):
    return (NOW + timedelta(days=days)).strftime("%d-%b-%Y").lower()


@pytest_twisted.ensureDeferred
async def test_both_kinds_of_pools_are_watched(tmp_path):
    """What is due is said at the start, stands in the picture, and is an event with the day and the features."""
    house = House(
        acme=licserver(tmp_path, f"INCREMENT cad acme 2027.0 {day(3)} 10", "INCREMENT mesh acme 2027.0 permanent 5"),
        mcad=flexnet(tmp_path, f"FEATURE solve mcad 1.0 {day(20)} 5 KEY"),
    )
    house.expiries.start()
    house.expiries.stop()
    acme = f"{tmp_path}/acme.lic: cad expires on 2026-11-25, in 3 days: ask the vendor for a renewal"
    mcad = f"{tmp_path}/mcad.lic: solve expires on 2026-12-12, in 20 days: ask the vendor for a renewal"
    assert [house.pools[name].snapshot().expiring for name in ("acme", "mcad")] == [[acme], [mcad]]
    details = {"file": f"{tmp_path}/acme.lic", "expires": "2026-11-25", "days": 3, "features": ["cad"]}
    assert house.told[0] == ("license_expiring", "acme", acme, details)
    assert [(event, pool) for event, pool, *_ in house.told[1:]] == [("license_expiring", "mcad")]


@pytest_twisted.ensureDeferred
async def test_it_is_said_as_the_days_go_by(tmp_path):
    """By the wall clock, an hour after midnight at the latest: at 3 and 1 days, on the last, and when it is over."""
    house = House(acme=licserver(tmp_path, f"INCREMENT cad acme 2027.0 {day(3)} 10"))
    house.expiries.start()
    house.clock.pump([LOOK_SECONDS] * 24 * 8)
    house.expiries.stop()
    assert [details["days"] for *_, details in house.told] == [3, 1, 0, -1]
    assert (
        house.pools["acme"].snapshot().expiring[0].endswith("cad expired on 2026-11-25: ask the vendor for a renewal")
    )


@pytest_twisted.ensureDeferred
async def test_a_renewed_file_is_read(tmp_path):
    """The next look finds nothing to say, nor does the picture."""
    house = House(mcad=flexnet(tmp_path, f"FEATURE solve mcad 1.0 {day(3)} 5 KEY"))
    house.expiries.look()
    flexnet(tmp_path, f"FEATURE solve mcad 1.0 {day(400)} 5 KEY")
    house.expiries.look()
    assert (len(house.told), house.pools["mcad"].snapshot().expiring) == (1, [])


@pytest_twisted.ensureDeferred
async def test_a_file_that_cannot_be_read_now_changes_nothing(tmp_path):
    """It is somebody being about to replace it; what was known goes on to be shown."""
    house = House(mcad=flexnet(tmp_path, f"FEATURE solve mcad 1.0 {day(3)} 5 KEY"))
    house.expiries.look()
    (tmp_path / "mcad.lic").unlink()
    house.expiries.look()
    assert (len(house.told), len(house.pools["mcad"].snapshot().expiring)) == (1, 1)


def test_a_license_of_which_nothing_is_left(tmp_path):
    """Every line has ended; not while one goes on."""
    (tmp_path / "ended").mkdir()
    ended = licserver(tmp_path / "ended", "FEATURE cad acme 1.0 21-nov-2026 5")
    going = licserver(tmp_path, "FEATURE cad acme 1.0 21-nov-2026 5", "FEATURE mesh acme 1.0 22-nov-2026 5")
    house = House(ended=ended, going=going)
    house.expiries.look()
    assert {name: pool.snapshot().is_expired for name, pool in house.pools.items()} == {"ended": True, "going": False}
