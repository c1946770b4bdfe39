"""What is wrong with the files that a configuration names, apart from license and journal, before a start finds out?"""

from collections.abc import Iterator

from licserver.config import LicserverConfig
from lsproxy.errors import LsproxyError
from lsproxy.net import tls


def check_files(config: LicserverConfig) -> list[str]:
    """A sentence for each; nothing is made or written."""
    return [*_certificate(config), *_debug_log(config)]


def _certificate(config: LicserverConfig) -> Iterator[str]:
    own = config.listen.tls
    if own is None:
        return
    try:
        tls.server_tls(own.certificate, own.key, own.client_ca)
        tls.client_context(own.trusted, own.certificate, own.key)
    except LsproxyError as problem:
        yield f"listen.tls: {problem}"


def _debug_log(config: LicserverConfig) -> Iterator[str]:
    path = config.debug_log
    if path is None:
        return
    if path.is_dir():
        yield f"debug_log: {path} is a folder, name a file"
    elif not path.parent.is_dir():
        yield f"debug_log: the folder {path.parent} does not exist, make it or name another file"
