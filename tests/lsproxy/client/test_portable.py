"""The client library imports where Twisted, uvloop and the modules of POSIX are not."""

import subprocess
import sys

PROBE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ImportError(f"{name} is not on this platform")

ABSENT = {"twisted", "uvloop", "zope", "attr", "attrs", "psutil", "pyroute2", "rich", "click", "cryptography", "yaml",
          "service_identity", "OpenSSL", "fcntl", "pwd", "grp", "resource", "termios", "asyncio", "syslog"}
sys.meta_path.insert(0, Absent())
for name in ABSENT:
    sys.modules.pop(name, None)
import time
if hasattr(time, "CLOCK_BOOTTIME"):
    del time.CLOCK_BOOTTIME
import lsproxy.client
from lsproxy.client.clock import boot_seconds
assert boot_seconds() <= boot_seconds()
lsproxy.client.LicenseClient("27000@127.0.0.1", user="alice")
present = {name.partition(".")[0] for name in sys.modules} & ABSENT
assert not present, present
"""


def test_it_imports_without_posix():
    """Blocked imports of everything that Windows or macOS lack do not hinder it."""
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
