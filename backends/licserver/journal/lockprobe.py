"""
Which process holds a lock on these bytes of a file? A program: `lockprobe.py FILE BYTE…`.

Prints "PID" per byte: the process that holds a lock there, 0 for nobody, -1
for one this namespace cannot see. It is a program because the question needs
a descriptor of the file, and a process that closes one of SQLite's files drops
all the locks SQLite holds on it (fcntl(2), "POSIX advisory locks").
"""

import fcntl
import os
import struct
import sys

_FLOCK = "hhqqi0q"  # struct flock of 64-bit Linux: type, whence, start, length, pid


def main(path: str, offsets: list[int]) -> None:
    """Print the holder of a lock on each of the bytes at `offsets`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    for offset in offsets:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
        sys.stdout.write(f"{0 if kind == fcntl.F_UNLCK else pid or -1}\n")


if __name__ == "__main__":
    main(sys.argv[1], [int(argument) for argument in sys.argv[2:]])
