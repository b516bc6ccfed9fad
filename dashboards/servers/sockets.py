"""Where the servers listen. Must not import torch."""

import ipaddress
import socket

from dashboards.errors import DashboardError


def resolve(host: str) -> str:
    """Return the IP address of a name; the first where it has several.

    Raises:
        DashboardError: If it has none.
    """
    # This one often stands for two; one is enough.
    name = "127.0.0.1" if host == "localhost" else host
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(name or "?", None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise DashboardError(
            f"--host must be an address of this machine, got {host!r}: "
            "use 127.0.0.1, or 0.0.0.0 for all of them"
        ) from None
    return str(found[0][4][0])


def listen(address: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Args:
        address: IP address; of `::`, 0.0.0.0 is listened on too.
        port: Port, 0 for a free one.

    Raises:
        DashboardError: If the machine has no such address, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    dual = address == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((address, port), family=family, dualstack_ipv6=dual)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DashboardError(
            f"--host and --port must be an address of this machine and a free port there, "
            f"{address} and {port} cannot be had ({reason}): choose another --port or --host"
        ) from None


def url_host(address: str) -> str:
    """Return what stands for an IP address in a URL."""
    if ipaddress.ip_address(address).is_unspecified:
        return socket.gethostname()
    return f"[{address}]" if ":" in address else address
