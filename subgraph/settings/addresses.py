"""Owns which addresses are on this machine, and to which it is safe to send secrets."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

_PRINTABLE = re.compile(r"[!-~]{1,2000}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_private_url(url: str) -> bool:
    """Whether nobody on the way hears or changes what is asked of a URL, which names no user: https, or http here."""
    if not _PRINTABLE.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        is_private = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        # Which port it is, is only read, and refused, when it is asked for.
        return is_private and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        return False
