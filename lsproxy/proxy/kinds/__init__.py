"""What the proxy knows of each kind of license server."""
