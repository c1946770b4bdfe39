"""
Does a file's access control list (acl(5)) let others in than its owner, root and this process?

With a list, the group's bits of a file's mode are the list's mask: a mode of 0440 may then stand for one user more, as
the service manager lays out the credentials of a service that is not root.
"""

import os
import struct
from typing import Final

_NAME: Final = "system.posix_acl_access"
_VERSION: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HHI")  # linux/posix_acl_xattr.h: tag, permissions, user or group
_USER_OBJ, _USER, _MASK = 0x01, 0x02, 0x10
_ROOT: Final = 0


def is_private_by_list(descriptor: int, uid: int) -> bool:
    """Whether the open file has a list, and that lets in nobody but its owner, root and the user `uid`."""
    try:
        listed = os.getxattr(descriptor, _NAME)
    except OSError:
        return False  # it has none, or the file system knows none
    return not any(
        permissions
        for tag, permissions, whose in _ENTRY.iter_unpack(listed[_VERSION.size :])
        if tag not in {_USER_OBJ, _MASK} and not (tag == _USER and whose in {_ROOT, uid})
    )
