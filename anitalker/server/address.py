"""Where a server listens, checked before a model is loaded."""

from __future__ import annotations

import ipaddress
import socket

from anitalker.config import InputError


def check_port(host: str, port: int) -> None:
    """Raise InputError if a server could not listen on this address. Called before a model is loaded."""
    if not 0 < port < 65536:
        raise InputError(f"--port is {port}; allowed is 1 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        raise InputError(f"port {port} of {host!r} cannot be used ({error}); choose another --port or --host") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host: a name, or an address (IPv6 with or without brackets)."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
