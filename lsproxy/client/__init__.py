"""The client library: `LicenseClient` checks seats out and keeps them through failovers, on any platform."""

from lsproxy.client.client import LicenseClient
from lsproxy.client.errors import ClientError, NoServer, Refused, SeatLost, SessionEnded
from lsproxy.client.seat import Seat

__all__ = ["ClientError", "LicenseClient", "NoServer", "Refused", "Seat", "SeatLost", "SessionEnded"]
