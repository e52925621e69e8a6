"""Finds TCP ports on this machine."""

import random
import socket

# Below the range from which Linux takes ports for outgoing connections (32768 up): a port that is free now stays free
# until the server that it is meant for binds it.
_CHOICE = range(10_000, 32_000)
_ATTEMPTS = 100


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen on `port` of `host` now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT is no obstacle
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a loopback port that nobody listens on.

    Raises:
        OSError: No free one was found, which means that the machine forbids listening.

    """
    for port in random.sample(_CHOICE, _ATTEMPTS):
        if is_free(port):
            return port
    raise OSError(f"none of {_ATTEMPTS} ports on 127.0.0.1 is free")
