"""Which license file, with which keys and on which host, does a configuration have this server serve?"""

from licserver.config import LicserverConfig
from licserver.licenses import Licenses
from licserver.wanted import wanted_of
from lsproxy.license.hostid import Hostid, parse_hostid
from lsproxy.license.keys import load_public_key
from lsproxy.license.machine import machine_hostids


def load_licenses(config: LicserverConfig) -> Licenses:
    """The license file of a configuration, with the vendors' keys and this host's hostids. Raises LsproxyError."""
    keys = {vendor: load_public_key(path) for vendor, path in config.vendor_keys.items()}
    return Licenses(config.license_file, keys, own_hostids(config), config.name, wanted_of(config))


def own_hostids(config: LicserverConfig) -> tuple[Hostid, ...]:
    """The machine's hostids and those declared beside them."""
    declared = tuple(hostid if isinstance(hostid, Hostid) else parse_hostid(hostid) for hostid in config.hostids)
    return (*machine_hostids(), *declared)
