"""Servers that are reached by ssh: with one key, and known by one key of theirs."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from infra import atomic
from infra.errors import MaiaError
from infra.host import AUTOMATION
from infra.plan import Host
from infra.site import Site


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
            "ConnectTimeout": "10",
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

    def command(self, *words: str, terminal: bool = False) -> list[str]:
        """The ssh command that runs ``words`` there, or a login shell."""
        if not shutil.which("ssh"):
            raise MaiaError("not installed", where="ssh", mend="apt-get install openssh-client")
        return [
            "ssh", *self.options, "-p", str(self.port), *(["-t"] if terminal else []),
            f"{self.user}@{self.address}", *(["--", *words] if words else []),
        ]  # fmt: skip

    def run(self, *words: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a command there; its exit code is the caller's to look at, 255 where ssh itself failed."""
        return subprocess.run(
            self.command(shlex.join(words)), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
        )


def server(site: Site, stack: str, host: Host, user: str = AUTOMATION) -> Server:
    """A server of the plan as ``user``; by default the one that is there once it was taken over."""
    return Server(
        name=host.name,
        address=host.address,
        port=host.port,
        user=user,
        key=site.key,
        known=site.known(stack, host.name),
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
