"""How many connections may this process have open at once?"""

import resource


def raise_descriptor_limit() -> int:
    """Raise the soft limit, often 1024 for the sake of programs that use select(2), to the hard one; the limit now."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
