"""
Which request key does a redundant server show, and what does an activation key do to its takeover?

The random bits come as arguments and stand in the events, so a request
stays the same through restarts and failovers until its key was accepted.
"""

from collections.abc import Collection

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from licserver.core.events import Reading
from licserver.core.takeover import Changes, Counted, Returned, State, Whole, key_accepted
from lsproxy.license.activation import KeyRefused, Request, check_activation_key, make_request
from lsproxy.license.hostid import Hostid


def request_of(state: State, name: str, hostids: Collection[Hostid], license_digest: str) -> Request | KeyRefused:
    """
    What the redundant server `name` asks its vendor for, or why there is nothing to ask.

    `hostids` are those by which the license or the registration knows its host, which do not change with the
    network it is in; `license_digest` is that of the text in force.
    """
    match state:
        case Counted(number, extension=extension, nonce=nonce):
            return make_request(name, hostids, license_digest, number, extension + 1, nonce)
        case Returned(takeover):
            reason = f"the primary has the name, so takeover {takeover.number} is at rest"
        case Whole():
            reason = "no redundant server has taken the name, so the takeover limit is whole"
    return KeyRefused(f"there is nothing to unblock: {reason}; a request key exists from a takeover on")


def activate(
    state: State, typed: str, asked: Request | KeyRefused, vendor_key: Ed25519PublicKey, now: Reading, nonce: bytes
) -> Changes | KeyRefused:
    """
    What a `typed` activation key that answers what was `asked` changes, or why it does not count.

    `nonce` are 8 random bytes for the next request key.
    """
    if isinstance(asked, KeyRefused):
        return asked
    assert isinstance(state, Counted)
    activation = check_activation_key(typed, asked, vendor_key)
    if isinstance(activation, KeyRefused):
        return activation
    return key_accepted(state, activation.hours, now, nonce)
