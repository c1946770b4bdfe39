"""I/O of the proxy: listeners, sessions, probers, and the pool that ties them to the decisions."""
