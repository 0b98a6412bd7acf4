"""The HTTP client that services use among themselves."""

from __future__ import annotations

import httpx


def client(timeout: float = 5.0) -> httpx.AsyncClient:
    """A client for parts of the appliance: no proxy from the environment, no redirects.

    Args:
        timeout: seconds for each of connect, read and write.
    """
    return httpx.AsyncClient(
        timeout=timeout, trust_env=False, limits=httpx.Limits(max_connections=20), headers={"User-Agent": "maia"}
    )
