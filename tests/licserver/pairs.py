"""
A pair in one process: a primary and its redundant server, on a clock that lets hours pass in a moment.

The servers confirm their claim every few minutes instead of several times per
second, so that three days are some hundred steps.
"""

from licserver.core.scheme import Registered, Wanted
from licserver.core.sessions import Terms
from licserver.server import MEMBERS_SECONDS
from lsproxy.license.hostid import parse_hostid
from tests.licserver.house import HOUR, PAIR, House, license_text

LINES = "SERVER lic-a ETHER=02a1b2c3d401 27101\nSERVER lic-b ETHER=02a1b2c3d402 27101\nVENDOR acme\n"
ONE_LINE = "SERVER lic-a ETHER=02a1b2c3d401 27101\nVENDOR acme\n"
HOSTIDS = {"lic-a": ("ETHER=02a1b2c3d401",), "lic-b": ("ETHER=02a1b2c3d402",), "lic-c": ("ETHER=02a1b2c3d403",)}
SLOW_TTL = 1500.0
SLOW = Terms(heartbeat=200_000.0, resume=900_000.0, trust=800_000.0)
STRIDE = SLOW_TTL / 5
AT_LIC_A = Wanted("pair", registered=Registered("lic-a", "lic-a:27101", tuple(map(parse_hostid, HOSTIDS["lic-a"]))))


class Pair(House):
    """`hosts` are lic-a, the primary, and lic-b; with `is_slow` hours pass quickly."""

    def __init__(self, folder, seats=10, servers=LINES, *, is_slow=False):
        slow = {"ttl": SLOW_TTL, "terms": SLOW} if is_slow else {}
        super().__init__(folder, license_text(seats, servers), **slow)
        self.starts = 0

    def start(self, name, wanted=PAIR, boot="boot", **changes):
        """A server of the pair, started (again)."""
        self.starts += 1
        settings = {"hostids": HOSTIDS[name], "instance": str(self.starts), "wanted": wanted, "boot": boot, **changes}
        return self.host(name, **settings)

    def both(self, wanted=PAIR):
        """The primary is active, the redundant server stands by and was seen by it."""
        a = self.start("lic-a")
        self.until_role(a, "active")
        b = self.start("lic-b", wanted)
        self.pass_seconds(MEMBERS_SECONDS + 0.1)
        return a, b

    def pass_hours(self, hours):
        """Time goes by in strides, the journal answering in between."""
        until = self.clock.seconds() + hours * HOUR
        while self.clock.seconds() < until:
            self.clock.advance(max(min(STRIDE, until - self.clock.seconds()), 0.0))
            for _ in range(4):
                self.clock.advance(0.001)

    def until_role(self, host, role, seconds=None):
        """Time goes by until a server has that role; how long it took."""
        began, step = self.clock.seconds(), self.ttl / 2000
        while host.role != role:
            assert self.clock.seconds() - began < (seconds or self.ttl * 3), f"{host.name} is {host.role}, not {role}"
            self.clock.advance(step)
        return self.clock.seconds() - began

    def status(self, host):
        """What a server says of itself."""
        return self.ask(self.client(host), id=9, op="status")
