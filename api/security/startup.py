"""The check before anything is served: who could reach the address."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from shared.settings import Settings


class AddressError(ValueError):
    """The address may not be served; the sentence is for the user."""


def is_loopback(host: str) -> bool:
    """True for an address that only this machine can reach; False for names."""
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name, the path of a socket
        return False


def check_address(settings: Settings, host: str) -> None:
    """Raise AddressError unless every address of the host is loopback, there are API keys, or the
    setting `open` states that something else (a container's port, a network policy) keeps others
    out.
    """
    if settings.api_keys or settings.open:
        return
    try:
        addresses = socket.getaddrinfo(
            host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise AddressError(f"host: {host}: {error.strerror}") from None
    if not all(is_loopback(str(address[0])) for *_, address in addresses):
        raise AddressError(
            f"host: {host} can be reached from other machines, which needs API keys: set "
            "LINEAMENT_API_KEYS to what `lineament key NAME` prints"
        )
