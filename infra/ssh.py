"""Servers that are reached by ssh: with one key, and known by one key of theirs."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from infra import atomic
from infra.errors import MaiaError
from infra.host import AUTOMATION
from infra.site import Site

PERSIST = 60
"""Seconds that a connection stays open for the next one who shares it."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """How a server is reached; nothing of the caller's own ssh configuration is used."""

    name: str
    address: str
    user: str
    key: Path
    """The private key to log in with."""
    known: Path
    """The host key under the server's name, in the form of known_hosts: no other is accepted."""
    port: int = 22

    @property
    def options(self) -> list[str]:
        """Words for ssh, sftp and scp."""
        settings = {
            "BatchMode": "yes",
            "ConnectTimeout": "30",  # of a busy server: it counts until keys were exchanged
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": self.name,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "IdentityFile": str(self.key),
            "LogLevel": "ERROR",
            "ServerAliveInterval": "15",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self.known),
        }
        return ["-F", "/dev/null", *(f"-o{name}={value}" for name, value in settings.items())]

    @property
    def shared(self) -> list[str]:
        """The same, for who shares one connection with all others that reach the server in this very way."""
        settings = {
            "ControlMaster": "auto",
            "ControlPath": str(self.meeting / "link"),
            "ControlPersist": str(PERSIST),
            "ServerAliveInterval": "10",  # a server that is gone holds up nobody for long, and a busy one may be silent
        }
        return [*(f"-o{name}={value}" for name, value in settings.items()), *self.options]

    @property
    def meeting(self) -> Path:
        """A folder for sockets that lead to the server, opened to nobody else.

        Raises:
            MaiaError: somebody else has made one in its place.
        """
        digest = hashlib.sha256("\0".join(map(str, self.data().values())).encode()).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"maia-ssh-{os.geteuid()}"  # a socket's path has 107 bytes at most
        for each in (folder, folder / digest):
            each.mkdir(mode=0o700, exist_ok=True)
            found = each.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise MaiaError("is not ours alone", where=str(each), mend="remove it")
        return folder / digest

    def data(self) -> dict[str, Any]:
        """All of it in plain words; `of` reads them."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**data, "key": Path(data["key"]), "known": Path(data["known"]), "port": int(data["port"])})

    def as_root(self, *words: str) -> str:
        """The command as root of the server, in one word for `command`."""
        return shlex.join(words if self.user == "root" else ("sudo", "-n", *words))

    def command(self, *words: str, terminal: bool = False, shared: bool = False) -> list[str]:
        """The ssh command that runs ``words`` there, or a login shell."""
        if not shutil.which("ssh"):
            raise MaiaError("not installed", where="ssh", mend="apt-get install openssh-client")
        return [
            "ssh", *(self.shared if shared else self.options), "-p", str(self.port), *(["-t"] if terminal else []),
            f"{self.user}@{self.address}", *(["--", *words] if words else []),
        ]  # fmt: skip

    def run(self, *words: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a command there; its exit code is the caller's to look at, 255 where ssh itself failed."""
        return subprocess.run(
            self.command(shlex.join(words)), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
        )


class Addressed(Protocol):
    """A server of a plan, or of a stack file."""

    @property
    def address(self) -> str: ...

    @property
    def port(self) -> int: ...


def server(site: Site, stack: str, name: str, host: Addressed, user: str = AUTOMATION) -> Server:
    """A server of the stack as ``user``; by default the one that is there once it was taken over."""
    return Server(
        name=name, address=host.address, port=host.port, user=user, key=site.key, known=site.known(stack, name)
    )


def generate() -> tuple[bytes, str]:
    """A new Ed25519 key pair: the private one in OpenSSH's form, and the public one as a line."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), public.decode()


def ensure_key(path: Path) -> str:
    """The public line of the private key in ``path``, which is made, 0600, if it is not there."""
    public = path.with_suffix(".pub")
    if not public.exists():  # written last
        private, line = generate()
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(private)
        atomic.write(public, line, mode=0o644)
    return public.read_text()
