"""The checksum of PROXY protocol headers, against published values."""

import pytest

from lsproxy.net.crc32c import crc32c


@pytest.mark.parametrize(
    ("octets", "checksum"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_published_values(octets, checksum):
    """It is CRC32C, by the test values of RFC 3720 (B.4) and the check value of its catalogues."""
    assert crc32c(octets) == checksum
