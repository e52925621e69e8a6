"""Finds TCP ports on this machine."""

import random
import socket

# Below the range from which Linux takes ports for outgoing connections (32768 up): a port that is free now stays free
# until the server that it is meant for binds it.
_CHOICE = range(10_000, 32_000)
_ATTEMPTS = 100


def listen_fault(host: str, port: int) -> str | None:
    """Return None when a server could listen there now, or a few words about what stops it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT is no obstacle
        try:
            probe.bind((host, port))
        except OSError as error:
            return (error.strerror or str(error)).lower()
        except UnicodeError:  # a name that cannot be one, with two dots in a row for example
            return "it is no name of a host"
    return None


def free_port() -> int:
    """Return a loopback port that nobody listens on.

    Raises:
        OSError: No free one was found, which means that the machine forbids listening.

    """
    for port in random.sample(_CHOICE, _ATTEMPTS):
        if listen_fault("127.0.0.1", port) is None:
            return port
    raise OSError(f"none of {_ATTEMPTS} ports on 127.0.0.1 is free")
