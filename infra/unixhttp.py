"""HTTP over a unix socket, for the clients of the object store that build on urllib3."""

from __future__ import annotations

from typing import Any

import urllib3
from docker.transport.unixconn import UnixHTTPConnectionPool


class SocketPool(urllib3.PoolManager):
    """urllib3 over one unix socket, whatever host the URL names.

    Args:
        path: of the socket.
        timeout: seconds for one request.
    """

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__()
        self._pool = UnixHTTPConnectionPool("http://localhost", path)
        self._timeout = timeout

    def connection_from_host(self, *_: Any, **__: Any) -> urllib3.HTTPConnectionPool:
        pool: urllib3.HTTPConnectionPool = self._pool
        return pool

    def urlopen(self, *args: Any, **kwargs: Any) -> urllib3.BaseHTTPResponse:
        # Docker's pool keeps its timeout as a number, which urllib3 cannot take for a default.
        return super().urlopen(*args, **{"timeout": self._timeout, **kwargs})
