"""How large may the body of a request be? Decided by its method and path, before anything of it is read."""

import re
from typing import Final

MOST_LICENSE_BYTES: Final = 1024 * 1024
_MOST_BYTES: Final = 64 * 1024
_LOGIN_BYTES: Final = 4 * 1024  # anybody may send one
_FORM_BYTES: Final = 16 * 1024  # what a form has around the license
_LICENSE: Final = {
    "PUT": re.compile(r"/api/v1/pools/[^/]+/license"),
    "POST": re.compile(r"/pools/[^/]+/license"),
}


def most_bytes(method: str, path: str) -> int:
    """For `path` without its query, not decoded."""
    if path == "/login":
        return _LOGIN_BYTES
    pattern = _LICENSE.get(method)
    if pattern is not None and pattern.fullmatch(path):
        return MOST_LICENSE_BYTES + _FORM_BYTES
    return _MOST_BYTES
