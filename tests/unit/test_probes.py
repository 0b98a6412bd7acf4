"""Health commands succeed on the answer they expect and on no other."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from infra.catalog import probes


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404 if self.path == "/none" else 200)
        self.end_headers()
        self.wfile.write(b'{"prometheus": "ok"}')

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "status", "contains", "healthy"),
    [
        ("/health", 200, "", True),
        ("/health", 200, '"prometheus": "ok"', True),
        ("/health", 200, '"prometheus": "gone"', False),
        ("/none", 200, "", False),
        ("/none", 404, "", True),
    ],
)
def test_only_the_expected_answer_is_healthy(port: int, path: str, status: int, contains: str, healthy: bool) -> None:
    command = probes.http(port, path, status=status, contains=contains).command
    assert (subprocess.run(command, check=False, timeout=10).returncode == 0) is healthy


def test_nobody_listening_is_not_healthy() -> None:
    assert subprocess.run(probes.http(1, "/").command, check=False, capture_output=True, timeout=10).returncode
