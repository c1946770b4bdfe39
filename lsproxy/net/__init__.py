"""Connections: Twisted endpoints over uvloop transports, TLS, addresses, and the reactor they run on."""
