"""Tests of whether a license file binds to a backend, seen from the proxy."""

from lsproxy.core.binding import Bound, Unbound, Unknown, bind, license_note
from lsproxy.license.hostid import parse_hostid
from tests.lsproxy.license.texts import signed, verified

LINE = "INCREMENT cad acme 2027.0 permanent 5\n"


def good():
    return verified(signed(LINE))


def test_reported_hostid_binds():
    """A backend that reports the hostid of a SERVER line is bound, and the reason names the line."""
    assert bind(good(), ["hostname=lic-a", "ether=02a1b2c3d4e5"], [], "lic-a") == Bound("SERVER line 1 of acme.lic")


def test_declared_hostid_binds():
    """A hostid stated in the configuration counts like a reported one, also before the first status."""
    assert isinstance(bind(good(), None, [parse_hostid("HOSTNAME=lic-a")], "lic-a"), Bound)


def test_other_host_is_unbound():
    """A backend with other hostids is unbound; kinds of hostids that are not known here bind nothing."""
    found = bind(good(), ["hostname=elsewhere", "dongle=17"], [], "lic-a")
    assert isinstance(found, Unbound)
    assert "bound to another host" in found.reason


def test_no_status_yet_is_unknown():
    """Before its first status a backend's binding is unknown."""
    assert isinstance(bind(good(), None, [], "lic-a"), Unknown)


def test_forged_file_binds_nobody():
    """A file whose only line was changed after signing binds nobody, with file and line in the reason."""
    forged = verified(signed(LINE).replace(" 5", " 500", 1))
    found = bind(forged, ["hostname=lic-a"], [], "lic-a")
    assert isinstance(found, Unbound)
    assert "acme.lic:3" in found.reason


def test_differing_license_is_noted():
    """A server that serves another license than the proxy's file is said, the same is not."""
    assert license_note(good(), good().digest, "lic-a") is None
    assert "lic-a serves license sha256:ffff" in license_note(good(), "sha256:" + "f" * 64, "lic-a")
