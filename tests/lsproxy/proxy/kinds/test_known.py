"""Tests of what is known of the kinds."""

from typing import get_args, get_type_hints

import pytest

from lsproxy.config.model import RelayBackend, RelayPool
from lsproxy.license.model import LicenseError
from lsproxy.net.address import parse_address
from lsproxy.proxy.kinds import KINDS, kind, read_licenses


def test_every_kind_of_the_configuration_is_known():
    """The configuration accepts no kind of which nothing is known, and licserver is none of them."""
    assert set(get_args(get_type_hints(RelayPool)["kind"])) == set(KINDS)
    with pytest.raises(KeyError):
        kind("licserver")


def test_a_backend_has_its_own_file_or_the_pools(tmp_path):
    """A file that several backends share is read once, and a backend without one is left out."""
    (tmp_path / "a.lic").write_text("SERVER a ANY\n")
    (tmp_path / "b.lic").write_text("SERVER b ANY\n")
    address = parse_address("127.0.0.1:1")
    own = RelayBackend(address=address, license_file=tmp_path / "b.lic")
    backends = {"a": RelayBackend(address=address), "b": own, "c": RelayBackend(address=address)}
    found = read_licenses(RelayPool(kind="flexnet", backends=backends, license_file=tmp_path / "a.lic"))
    assert [license_file.hosts[0].name for license_file in found.values()] == ["a", "b", "a"]
    assert found["a"] is found["c"]
    assert list(read_licenses(RelayPool(kind="flexnet", backends=backends))) == ["b"]


def test_a_file_that_is_gone_is_an_error(tmp_path):
    """It was there when the configuration was read."""
    backend = RelayBackend(address=parse_address("127.0.0.1:1"), license_file=tmp_path / "gone")
    with pytest.raises(LicenseError, match="gone"):
        read_licenses(RelayPool(kind="rlm", backends={"a": backend}))
