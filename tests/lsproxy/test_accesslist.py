"""Whom a file's access control list lets in, on a real file system, as the service manager lays out credentials."""

import os
import struct

import pytest

from lsproxy.accesslist import is_private_by_list
from lsproxy.secretfile import SecretFileError, read_secret

USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
NOBODY = 65534
READ = 4


@pytest.fixture
def listed(tmp_path):
    """A secret whose owner may read it, and those of the entries given: (tag, permissions, user or group)."""
    path = tmp_path / "operator.token"
    path.write_text("s3cret")

    def make(*more, group=0, other=0):
        entries = sorted([(USER_OBJ, READ, -1), (GROUP_OBJ, group, -1), (MASK, READ, -1), (OTHER, other, -1), *more])
        content = b"".join(struct.pack("<HHi", *entry) for entry in entries)
        os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2) + content)
        return path

    return make


def is_private(path, uid):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return is_private_by_list(descriptor, uid)
    finally:
        os.close(descriptor)


def test_one_user_more_is_the_service(listed):
    """Mode 0440, and yet closed to the group: for that user it is a secret, for another it is open to others."""
    path = listed((USER, READ, 4711))
    assert path.stat().st_mode & 0o777 == 0o440
    assert is_private(path, 4711)
    assert not is_private(path, 4712)


@pytest.mark.parametrize("entries", [{"group": READ}, {"other": READ}])
def test_group_and_others_are_seen_through_the_mask(listed, entries):
    """The mode cannot tell the group from one user more, the list can."""
    assert not is_private(listed((USER, READ, 4711), **entries), 4711)


def test_another_group_is_others(listed):
    """Named groups are nobody's own."""
    assert not is_private(listed((GROUP, READ, 4711)), 4711)


def test_a_file_without_a_list_is_judged_by_its_mode(tmp_path):
    """It has no list to speak for it."""
    path = tmp_path / "plain"
    path.write_text("s3cret")
    assert not is_private(path, os.geteuid())


def test_a_secret_for_this_process_is_read(listed):
    """And refused where the list names somebody else."""
    assert read_secret(listed((USER, READ, os.geteuid()))) == "s3cret"
    path = listed((USER, READ, NOBODY))
    with pytest.raises(SecretFileError, match="is open to others"):
        read_secret(path)
