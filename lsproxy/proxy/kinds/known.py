"""Which kinds of third-party license servers does lsproxy know, and what does it know of each?"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from lsproxy.config.model import RelayPool
from lsproxy.license.thirdparty import ThirdPartyLicense
from lsproxy.proxy.kinds import flexnet, lmx, rlm
from lsproxy.proxy.kinds.text import read_text


class Kind(msgspec.Struct, frozen=True):
    """
    One kind of license server. `name` is the configuration's word, `title` the one for people.

    `read` takes the text of a license file and its name and takes any text; None where there is none to read.
    `usual_ports` by what listens there, the one where clients ask first in front. `is_case_kept`: host names in license
    files are compared with case. `does_redirect`: clients go on to the host name that the license file gives.
    `variable` is the environment variable for `port@host`, `vendor_suffix` what makes one of a vendor's name.
    """

    name: str
    title: str
    read: Callable[[str, str], ThirdPartyLicense] | None = None
    usual_ports: Mapping[str, int] = {}
    is_case_kept: bool = False
    does_redirect: bool = False
    variable: str = ""
    vendor_suffix: str = ""

    @property
    def main_port(self) -> int | None:
        """Where its clients ask first, unless its license file says otherwise."""
        return next(iter(self.usual_ports.values()), None)


KINDS: Final[Mapping[str, Kind]] = {
    known.name: known
    for known in (
        Kind(
            "flexnet",
            "FlexNet",
            flexnet.read,
            usual_ports={"lmgrd": 27000},
            does_redirect=True,
            variable="LM_LICENSE_FILE",
            vendor_suffix="_LICENSE_FILE",
        ),
        Kind(
            "citrix",
            "Citrix",
            flexnet.read,
            usual_ports={"licensing": 27000, "vendor": 7279, "web": 8083},
            is_case_kept=True,
            does_redirect=True,
        ),
        Kind(
            "rlm",
            "RLM",
            rlm.read,
            usual_ports={"rlm": 5053},
            variable="RLM_LICENSE",
            vendor_suffix="_LICENSE",
        ),
        Kind(
            "lmx",
            "LM-X",
            lmx.read,
            usual_ports={"lmx": 6200},
            variable="LMX_LICENSE_PATH",
            vendor_suffix="_LICENSE_PATH",
        ),
        Kind("tcp", "TCP"),
    )
}


def kind(name: str) -> Kind:
    """What is known of the kind that the configuration calls `name`. Raises KeyError for licserver: it is our own."""
    return KINDS[name]


def read_licenses(pool: RelayPool) -> dict[str, ThirdPartyLicense]:
    """
    The license file of each backend of `pool`, its own or else the pool's; backends without one are left out.

    Raises LicenseError for a file that cannot be read.
    """
    read = kind(pool.kind).read
    if read is None:
        return {}
    paths = {name: backend.license_file or pool.license_file for name, backend in pool.backends.items()}
    files = {path: read(read_text(path), str(path)) for path in dict.fromkeys(paths.values()) if path}
    return {name: files[path] for name, path in paths.items() if path}
