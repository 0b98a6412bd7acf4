"""Whether a place away from the machine can be met, and why not: the tools would say less, and later."""

from __future__ import annotations

import os
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from socket import create_connection
from urllib.parse import urlsplit

from app.backup.command import Failed
from app.backup.places import Copy

PATIENCE = 30.0
"""Seconds for it to take a connection."""


def meet(copy: Copy) -> None:
    """Meet the target, through the exit proxy where there is one.

    Raises:
        Failed: why it cannot be met.
    """
    place, proxy = f"{copy.host}:{copy.port}", urlsplit(os.environ.get("HTTPS_PROXY", ""))
    first = (proxy.hostname, proxy.port or 80) if proxy.hostname else (copy.host, copy.port)
    try:
        with create_connection(first, PATIENCE) as link:
            if not proxy.hostname:
                return
            link.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
            answer = HTTPResponse(link, method="CONNECT")
            answer.begin()
    except (OSError, HTTPException) as error:
        raise Failed(f"copy {copy.name}: {place}: {getattr(error, 'strerror', None) or error}") from None
    if answer.status != HTTPStatus.OK:
        reason = refusal(answer.headers.get("X-Squid-Error", "")) or f"the exit proxy answers {answer.status}"
        raise Failed(f"copy {copy.name}: {place}: {reason}")


def refusal(told: str) -> str:
    """What the proxy's word for an error means."""
    word, _, number = told.partition(" ")
    match word:
        case "ERR_CONNECT_FAIL" if number.isdigit():
            return os.strerror(int(number))
        case "ERR_DNS_FAIL":
            return "no such host"
        case "ERR_ACCESS_DENIED":
            return "the exit proxy does not let it through"
    return ""
