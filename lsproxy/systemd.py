"""What the service manager is told, and how: sd_notify(3), nothing where there is no NOTIFY_SOCKET."""

import os
import socket


def notify(state: str) -> None:
    """Send `state`, such as "READY=1", to the service manager of this process."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifying:
        try:
            notifying.connect(address)
            notifying.send(state.encode())
        except OSError:
            pass  # a service manager that is gone needs no news
