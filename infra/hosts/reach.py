"""How a server of a stack is reached: with the site's key, and known by the key that was pinned on first contact."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import fabric
import paramiko
from fabric.config import Config
from paramiko.ssh_exception import (
    AuthenticationException,
    BadHostKeyException,
    NoValidConnectionsError,
    SSHException,
)

from infra import atomic, remedy
from infra.errors import MaiaError
from infra.ssh import Server

PATIENCE = 10
"""Seconds within which a server must take a connection."""
BUSY = 60
"""Seconds that a busy one may take for each step that lets us in."""


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    error: str


class Link:
    """One open connection to a server, for as many commands as are wanted."""

    def __init__(self, connection: fabric.Connection, server: Server, pinned: str) -> None:
        self._client: paramiko.SSHClient = connection.client
        self.server = server
        self.pinned = pinned
        """Fingerprint of the key that was pinned by this very connection; empty where one was before."""

    def run(self, command: str, given: bytes = b"", *, timeout: float = 60) -> Answer:
        """Run a line of shell there, with ``given`` on its standard input.

        Raises:
            MaiaError: the connection was lost.
        """
        try:
            stdin, stdout, stderr = self._client.exec_command(command, timeout=timeout)
            with stdin:
                stdin.write(given)
                stdin.channel.shutdown_write()
            out, error = stdout.read().decode(errors="replace"), stderr.read().decode(errors="replace")
            return Answer(stdout.channel.recv_exit_status(), out, error)
        except (OSError, EOFError, SSHException) as lost:
            raise _lost(self.server, lost) from None

    def root(self, script: str, *words: str, given: bytes = b"", timeout: float = 60) -> Answer:
        """The same by root's shell, which stops at the first failure; ``words`` are its ``$1`` and so on."""
        return self.run(self.server.as_root("sh", "-euc", script, "sh", *words), given, timeout=timeout)

    def must(self, script: str, *words: str, given: bytes = b"", timeout: float = 60, mend: str = "") -> str:
        """What root's shell says to a script that must succeed.

        Args:
            mend: what to do about its complaint; by default what is known of such.

        Raises:
            MaiaError: it failed, with its own words in one line; or the connection was lost.
        """
        answer = self.root(script, *words, given=given, timeout=timeout)
        if answer.code:
            said = " ".join(answer.error.split())[-300:]
            what = said or f"a command ended with exit code {answer.code} and without a word"
            raise MaiaError(what, where=f"host {self.server.name}", mend=mend or remedy.of(said))
        return answer.out

    def hold(self, script: str, *words: str) -> str:
        """Start a script of root's whose input ends with the connection, or with `release`; its first line."""
        command = self.server.as_root("sh", "-euc", script, "sh", *words)
        try:
            self._held, self._ended, _ = self._client.exec_command(command, timeout=BUSY)
            return str(self._ended.readline()).strip()
        except (OSError, EOFError, SSHException) as lost:
            raise _lost(self.server, lost) from None

    def release(self) -> None:
        """Let what is held come to its end, and wait for that."""
        with suppress(OSError, EOFError, SSHException):
            self._held.channel.shutdown_write()
            self._ended.read()


@contextmanager
def linked(server: Server) -> Iterator[Link]:
    """A connection; on first contact, with the server's key pinned.

    Raises:
        MaiaError: it does not answer, is another one than it was, or does not let us in.
    """
    connection = fabric.Connection(
        server.address,
        user=server.user,
        port=server.port,
        config=Config(overrides={"load_ssh_configs": False}),
        connect_timeout=PATIENCE,
        connect_kwargs={
            "key_filename": str(server.key),
            "allow_agent": False,
            "look_for_keys": False,
            "banner_timeout": BUSY,
            "auth_timeout": BUSY,
        },
    )
    client: paramiko.SSHClient = connection.client
    first = not server.known.exists()
    if not first:
        _, kind, key = server.known.read_text().split()
        client.get_host_keys().add(_entry(server), kind, paramiko.PKey.from_type_string(kind, base64.b64decode(key)))
    client.set_missing_host_key_policy(_Accepting() if first else paramiko.RejectPolicy())
    try:
        _open(connection, server)
        pinned = _pin(client, server) if first else ""
        _transport(client).set_keepalive(PATIENCE)
        yield Link(connection, server, pinned)
    finally:
        connection.close()


class Unwelcome(MaiaError):
    """The server does not let this user in."""


class _Accepting(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]  # paramiko has no types
    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """It is pinned once the server has let us in."""


def _open(connection: fabric.Connection, server: Server) -> None:
    where = f"host {server.name}"
    try:
        connection.open()
    except BadHostKeyException as error:
        raise MaiaError(
            f"shows another key than the pinned one: {fingerprint(error.key.asbytes())}",
            where=where,
            mend=f"if that is right, say so: maia host trust {server.name}",
        ) from None
    except AuthenticationException:
        key = server.key.with_suffix(".pub").read_text().strip()
        raise Unwelcome(
            f"does not let {server.user} in", where=where, mend=f"let this key in as {server.user} there: {key}"
        ) from None
    except (NoValidConnectionsError, TimeoutError, OSError, EOFError, SSHException) as error:
        raise _unreachable(server, error) from None


def _unreachable(server: Server, error: Exception) -> MaiaError:
    found = next(iter(error.errors.values())) if isinstance(error, NoValidConnectionsError) else error
    said = "it says nothing" if isinstance(found, TimeoutError) else _words(found)
    return MaiaError(
        f"does not answer at {server.address}:{server.port}: {said}",
        where=f"host {server.name}",
        mend="start it, or correct its address in the stack file",
    )


def _lost(server: Server, error: Exception) -> MaiaError:
    what = "it says nothing" if isinstance(error, TimeoutError) else _words(error)
    return MaiaError(f"the connection was lost: {what}", where=f"host {server.name}", mend="run it again, it continues")


def _words(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split()) or type(error).__name__


def _pin(client: paramiko.SSHClient, server: Server) -> str:
    """Write the key down that the server has just proved to hold; returns its fingerprint."""
    key = _transport(client).get_remote_server_key()
    server.known.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    atomic.write(server.known, f"{server.name} {key.get_name()} {key.get_base64()}\n")
    return fingerprint(key.asbytes())


def _transport(client: paramiko.SSHClient) -> paramiko.Transport:
    found = client.get_transport()
    assert found, "it is connected"
    return found


def presented(server: Server) -> tuple[str, str]:
    """The key that the server shows right now, as a line of known_hosts, and its fingerprint."""
    try:
        with socket.create_connection((server.address, server.port), PATIENCE) as link:
            with paramiko.Transport(link) as transport:
                transport.start_client(timeout=BUSY)
                key = transport.get_remote_server_key()
    except (OSError, EOFError, SSHException) as error:
        raise _unreachable(server, error) from None
    return f"{server.name} {key.get_name()} {key.get_base64()}\n", fingerprint(key.asbytes())


def pinned(server: Server) -> str:
    """Fingerprint of the pinned key; empty where there is none."""
    return fingerprint(base64.b64decode(server.known.read_text().split()[2])) if server.known.exists() else ""


def fingerprint(key: bytes) -> str:
    """As ssh-keygen shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def _entry(server: Server) -> str:
    """The server's name among paramiko's host keys."""
    return server.address if server.port == 22 else f"[{server.address}]:{server.port}"
