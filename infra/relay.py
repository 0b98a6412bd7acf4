"""A Unix socket here that leads to one of a server's, through commands by ssh: sshd need not forward anything."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PROGRAM = """\
import os, socket, sys, threading
link = socket.socket(socket.AF_UNIX)
link.connect(sys.argv[1])
def inward():
    while data := os.read(0, 1 << 16):
        link.sendall(data)
    link.shutdown(socket.SHUT_WR)
threading.Thread(target=inward, daemon=True).start()
out = os.fdopen(1, "wb", 0)
while data := link.recv(1 << 16):
    view = memoryview(data)
    while view:
        view = view[out.write(view):]
"""
"""What runs there for each connection, with the socket's path behind it; Python's standard library only."""

_numbers = itertools.count()


class Relay:
    """Listens until this process ends.

    Args:
        folder: for sockets, opened to nobody else.
        name: of the socket's file.
        command: what a connection is handed to, as its standard input and output.
    """

    def __init__(self, folder: Path, name: str, command: Sequence[str]) -> None:
        self._command = list(command)
        self._children: list[subprocess.Popen[bytes]] = []
        _sweep(folder)
        home = folder / f"{os.getpid()}-{next(_numbers)}"
        home.mkdir(mode=0o700)
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        self.path = str(home / name)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            link, _ = self._listener.accept()
            self._children = [child for child in self._children if child.poll() is None]
            with link:  # the child's own from here on
                self._children.append(
                    subprocess.Popen(
                        self._command, stdin=link.fileno(), stdout=link.fileno(), stderr=subprocess.DEVNULL
                    )
                )


def _sweep(folder: Path) -> None:
    """Remove what processes left that were killed."""
    for left in folder.glob("*-*"):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(int(left.name.partition("-")[0]), 0)
            continue
        shutil.rmtree(left, ignore_errors=True)
