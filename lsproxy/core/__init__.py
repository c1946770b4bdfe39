"""Decisions of the proxy: pure functions and small state machines, told the time, doing no I/O."""
