"""Single values: names, addresses, paths, files, secrets, database URLs, hostids."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lsproxy.config import leaves
from lsproxy.config.scalars import read_scalar
from lsproxy.errors import LsproxyError
from lsproxy.license.hostid import Hostid
from lsproxy.net.address import Address


def read(kind: Any, text: str, folder: Path) -> Any:
    return read_scalar(text, msgspec.inspect.type_info(kind), folder, is_quoted=True)


def refusal(kind: Any, text: str, folder: Path) -> str:
    with pytest.raises(LsproxyError) as caught:
        read(kind, text, folder)
    return str(caught.value).replace(str(folder), "DIR")


def test_values_that_are_right(folder: Path):
    """Each in its own type, paths absolute."""
    assert read(leaves.Name, "lic-a.1_B", folder) == "lic-a.1_B"
    assert read(leaves.ListenAddress, "[::]:27000", folder) == Address("::", 27000)
    assert read(leaves.Destination, "lic-a.example.com:27101", folder) == Address("lic-a.example.com", 27101)
    assert read(leaves.HostName, "lic-a.example.com", folder) == "lic-a.example.com"
    assert read(leaves.ReadableFile, "acme.lic", folder) == folder / "acme.lic"
    assert read(leaves.SecretFile, str(folder / "operator.token"), Path("/")) == folder / "operator.token"
    assert read(leaves.KeptSecretFile, "tokens.yaml", folder) == folder / "tokens.yaml"
    assert read(leaves.OutputPath, "/run/x.sock", folder) == Path("/run/x.sock")
    assert read(leaves.Database, "sqlite:///var/lib/x.db", folder) == Path("/var/lib/x.db")
    assert read(leaves.Database, "sqlite:sub/x.db", folder) == folder / "sub/x.db"
    assert read(leaves.DeclaredHostid, "ETHER=02:A1:B2:C3:D4:E5", folder) == Hostid("ether", "02a1b2c3d4e5")


@pytest.mark.parametrize("text", ["", "a b", "a/b", "x" * 65, "\N{LATIN SMALL LETTER E WITH ACUTE}", "a\n"])
def test_names_have_one_form(folder: Path, text: str):
    """They stand in paths, file names, URLs and metrics."""
    assert refusal(leaves.Name, text, folder).endswith("must be 1 to 64 letters, digits, dots, dashes and underscores")


def test_a_host_name_is_no_address_with_a_port(folder: Path):
    """It is what a certificate proves."""
    told = '"https://lic-a" is no host name, it must be letters, digits, dots and dashes'
    assert refusal(leaves.HostName, "https://lic-a", folder) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("127.0.0.1", '"127.0.0.1" is not an address: write host:port, such as 127.0.0.1:27000 or [::1]:27000'),
        ("a\nb:1", '"a\N{REPLACEMENT CHARACTER}b:1" is not an address, it must be host:port, such as 127.0.0.1:27000'),
        ("127.0.0.1:0", '"127.0.0.1:0" has port 0, name the port that others will find'),
        ("0.0.0.0:27000", '"0.0.0.0:27000" is no address others can dial, name the host'),
        ("[::]:27000", '"[::]:27000" is no address others can dial, name the host'),
    ],
)
def test_a_destination_can_be_dialled(folder: Path, text: str, told: str):
    """Host and port, neither a wildcard."""
    assert refusal(leaves.Destination, text, folder) == told


def test_an_address_of_a_million_characters_is_not_repeated(folder: Path):
    """The sentence stays one line of a terminal."""
    assert len(refusal(leaves.ListenAddress, "x" * 1_000_000 + ":1", folder)) < 200


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("missing", "DIR/missing does not exist, put the file there or correct the path"),
        (".", "DIR is not a file, name one"),
        ("pipe", "DIR/pipe is not a file, name one"),
        ("acme.lic/below", "DIR/acme.lic/below cannot be read: Not a directory"),
        ("x" * 300, f"DIR/{'x' * 300} cannot be read: File name too long"),
        ("a\0b", '"a\N{REPLACEMENT CHARACTER}b" is no path'),
        ("", '"" is no path'),
    ],
)
def test_a_file_exists_and_opens(folder: Path, text: str, told: str):
    """A pipe is not waited for."""
    os.mkfifo(folder / "pipe")
    assert refusal(leaves.ReadableFile, text, folder) == told


def test_a_secret_is_closed_to_others(folder: Path):
    """Also one that the program keeps itself, once it is there."""
    told = "DIR/acme.lic is open to others (mode 0644), close it with: chmod 600 DIR/acme.lic"
    (folder / "acme.lic").chmod(0o644)
    assert refusal(leaves.SecretFile, "acme.lic", folder) == told
    assert refusal(leaves.KeptSecretFile, "acme.lic", folder) == told
    assert refusal(leaves.SecretFile, "no", folder) == "DIR/no does not exist, put the secret there, mode 0600"
    assert refusal(leaves.KeptSecretFile, "x" * 300, folder).endswith("cannot be read: File name too long")


@pytest.mark.parametrize("text", ["x.db", "sqlite", "sqlite://host/x.db", "postgres://u:secret@h/db", "SQLITE:x"])
def test_a_database_is_a_sqlite_url(folder: Path, text: str):
    """What was written is not repeated: a URL may hold a password."""
    expected = "must be sqlite:///ABSOLUTE/PATH, or sqlite:PATH from this file's folder"
    assert refusal(leaves.Database, text, folder) == expected


def test_a_database_names_a_file(folder: Path):
    """No folder, no nothing."""
    expected = "names no file, it must be sqlite:///ABSOLUTE/PATH/OF.db"
    assert [refusal(leaves.Database, text, folder) for text in ("sqlite:", "sqlite:///a/", "sqlite:a\0")] == [
        expected
    ] * 3


def test_another_scheme_is_no_database_of_ours(folder: Path):
    """What else is written there is not repeated: it may hold a password."""
    expected = "must be sqlite:///ABSOLUTE/PATH, or sqlite:PATH from this file's folder"
    assert refusal(leaves.Database, "etcd://a:2379,b:2379/prefix", folder) == expected


def test_the_version_of_a_header(folder: Path):
    """True means the newer one; nothing else is guessed."""
    texts = ("false", "true", "v1", "v2")
    assert [read(leaves.HeaderVersion, text, folder) for text in texts] == ["", "v2", "v1", "v2"]
    assert refusal(leaves.HeaderVersion, "v3", folder) == 'must be true, false, v1 or v2, not "v3"'


def test_a_range_of_addresses(folder: Path):
    """A network, or an address for itself alone."""
    assert str(read(leaves.AddressRange, "192.0.2.0/24", folder)) == "192.0.2.0/24"
    assert str(read(leaves.AddressRange, "2001:db8::1", folder)) == "2001:db8::1/128"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("192.0.2.7/24", "192.0.2.7/24 is an address within a network, the network itself is 192.0.2.0/24"),
        ("lic-a", '"lic-a" is no network, write one like 192.0.2.0/24 or 2001:db8::/32'),
        ("192.0.2.0\n/24", '"192.0.2.0\N{REPLACEMENT CHARACTER}/24" is no network'),
    ],
)
def test_a_range_is_one_that_was_meant(folder: Path, text: str, told: str):
    """Bits behind the prefix are a slip: which network was meant is said, not guessed."""
    assert refusal(leaves.AddressRange, text, folder) == told
