"""Docker's socket through a relay that can lose what is asked on the way."""

from __future__ import annotations

import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DOCKER = "/var/run/docker.sock"
LOST = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/json\r\nContent-Length: 18\r\nConnection: close\r\n\r\n"
LOST += b'{"message":"lost"}'


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@contextmanager
def losing(path: Path, asked: str) -> Iterator[str]:
    """Serve Docker at ``path``, but for requests whose first line has ``asked`` (a regular expression).

    Yields:
        The address, as ``DOCKER_HOST`` takes it.
    """
    wanted = re.compile(asked.encode())

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as docker:
                docker.connect(DOCKER)
                back = threading.Thread(target=_pour, args=(docker, self.request), daemon=True)
                back.start()
                while block := self.request.recv(1 << 16):
                    if wanted.search(block.partition(b"\r\n")[0]):
                        self.request.sendall(LOST)
                        break
                    docker.sendall(block)
                docker.shutdown(socket.SHUT_RDWR)
                back.join()

    with _Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown()
            thread.join()


def _pour(source: socket.socket, sink: socket.socket) -> None:
    try:
        while block := source.recv(1 << 16):
            sink.sendall(block)
    except OSError:
        return  # whoever asked is gone
