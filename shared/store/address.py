"""The address of an S3 server, apart from the client so that settings need not load it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Address:
    """Host (and port) of a server, and whether it is reached over TLS."""

    host: str
    secure: bool

    @classmethod
    def parse(cls, text: str, secure: bool) -> Address:
        """Parse "host:port" or a URL, whose scheme overrides `secure`; ValueError for others."""
        wrong = ValueError("must be host:port or http(s)://host:port")
        try:
            parts = urlsplit(text if "://" in text else f"//{text}")
            named = bool(parts.hostname) and parts.port != 0
        except ValueError:
            raise wrong from None
        more = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
        if not named or more or parts.scheme not in ("", "http", "https"):
            raise wrong
        return cls(parts.netloc, parts.scheme == "https" if parts.scheme else secure)
