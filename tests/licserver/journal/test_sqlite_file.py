"""On which file systems may a journal be?"""

from pathlib import Path

import pytest

from licserver.journal.interface import JournalUnusable
from licserver.journal.sqlite_file import check_file_system, file_system

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /srv rw - nfs4 nas:/srv rw,vers=4.2
31 30 0:26 / /srv/local rw - xfs /dev/vdb rw
32 22 0:27 / /mnt/two\\040words rw master:1 - fuse.sshfs host:/ rw
33 22 0:28 / /var/lib rw - ext4 /dev/vdc rw
34 22 0:29 / /var/lib rw - 9p host rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/srv", "nfs4"),
        ("/srv/a/b", "nfs4"),
        ("/srvx", "ext4"),
        ("/srv/local/a", "xfs"),
        ("/mnt/two words/a", "fuse.sshfs"),
        ("/var/lib/licserver", "9p"),
    ],
)
def test_file_system(path, kind):
    """The file system is that of the longest mount point above the path, mounted last."""
    assert file_system(path, MOUNTS) == kind


def test_local_disk(tmp_path):
    """A folder of this machine's disk will do."""
    check_file_system(tmp_path)


def test_network_file_system(tmp_path):
    """A network file system is refused by its name, with what would do instead."""
    (tmp_path / "mounts").write_text(f"1 1 0:1 / {tmp_path} rw - nfs4 nas:/ rw\n")
    with pytest.raises(JournalUnusable, match=r"is on a network file system \(nfs4\).*local disk"):
        check_file_system(tmp_path / "journals", tmp_path / "mounts")


def test_this_machine():
    """The mounts of this machine are understood."""
    assert file_system("/proc/self", Path("/proc/self/mountinfo").read_text(encoding="utf-8")) == "proc"
