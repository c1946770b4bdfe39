"""What time is it, on a clock that nobody sets and that goes on while the machine sleeps?"""

import time

_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def boot_seconds() -> float:
    """Seconds since some fixed moment: CLOCK_BOOTTIME where the system has it, otherwise the monotonic clock."""
    if _BOOTTIME is None:
        return time.monotonic()
    return time.clock_gettime(_BOOTTIME)
