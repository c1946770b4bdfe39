"""What can a client of license servers be told that is not a seat?"""

from lsproxy.errors import LsproxyError


class ClientError(LsproxyError):
    """The root of what `lsproxy.client` raises; `str()` of it is one clear sentence."""


class Refused(ClientError):
    """
    A license server said no. `code` is one of docs/protocol.md's error codes
    ("no_seats", "unknown_feature", …), `message` the server's sentence.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message or code)
        self.code = code
        self.message = message


class NoServer(ClientError):
    """No license server answered in time; the sentence says what each address did."""


class SeatLost(ClientError):
    """A seat that was held is held no more; `feature` says of what, the sentence says why."""

    def __init__(self, feature: str, reason: str) -> None:
        super().__init__(f"{feature}: the seat is lost: {reason}")
        self.feature = feature
        self.reason = reason


class SessionEnded(ClientError):
    """The session cannot go on: another connection took it over, or the client was closed"""
