"""What does a configuration say of redundancy, as the decisions on it want to know?"""

from licserver.config import LicserverConfig
from licserver.core.scheme import Registered, Wanted


def wanted_of(config: LicserverConfig) -> Wanted:
    """The scheme of `config`, and what goes with it."""
    given, redundancy = config.registered, config.redundancy
    registered = None if given is None else Registered(given.name, str(given.primary), given.hostids)
    return Wanted(redundancy.scheme, redundancy.takeover_limit_hours, redundancy.priority, registered)
