"""The certificate that a server presents, asked for inside its own network: most have no way in from the machine."""

from __future__ import annotations

import ctypes
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

NETWORK = 0x40000000
"""CLONE_NEWNET."""
POSTGRES = "postgres"
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""How its clients ask for TLS."""
SECONDS = 5.0


def certificate(pid: int, port: int, name: str) -> str:
    """As PEM, what the server at ``port`` in the network of process ``pid`` presents to who asks for ``name``.

    Raises:
        OSError: nobody answers there, or not in TLS.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is looked at, not trusted
    with ThreadPoolExecutor(1) as elsewhere, elsewhere.submit(_connect, pid, port).result() as link:
        if name == POSTGRES:
            link.sendall(SSL_REQUEST)
            if link.recv(1) != b"S":
                raise ConnectionError("it speaks no TLS")
        with context.wrap_socket(link, server_hostname=name) as wrapped:
            return ssl.DER_cert_to_PEM_cert(wrapped.getpeercert(binary_form=True) or b"")


def _connect(pid: int, port: int) -> socket.socket:
    """Only the thread that calls goes there."""
    with open(f"/proc/{pid}/ns/net") as there:
        if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), NETWORK):
            raise OSError(ctypes.get_errno(), "setns")
    return socket.create_connection(("127.0.0.1", port), SECONDS)
