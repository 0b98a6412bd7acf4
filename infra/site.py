"""Where the owner's things live: state, keys, rendered files, evidence, caches.

Nothing of a running appliance is written into the repository. The *site* folder
holds what cannot be made again (state, stack files with their encrypted values,
keys); the *cache* holds what can (tools, images).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent


def _xdg(variable: str, fallback: str) -> Path:
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / fallback


def cache() -> Path:
    """The folder of everything that can be built again (``MAIA_CACHE`` names another)."""
    override = os.environ.get("MAIA_CACHE")
    return Path(override) if override else _xdg("XDG_CACHE_HOME", ".cache") / "maia"


@dataclass(frozen=True)
class Site:
    """The owner's folder (``MAIA_SITE`` names another)."""

    root: Path

    @classmethod
    def current(cls) -> Site:
        override = os.environ.get("MAIA_SITE")
        return cls(Path(override) if override else _xdg("XDG_STATE_HOME", ".local/state") / "maia")

    @property
    def state(self) -> Path:
        """Pulumi's file backend."""
        return self.root / "state"

    @property
    def passphrase(self) -> Path:
        """The key that opens the encrypted values of the stack files, mode 0600."""
        return self.root / "passphrase"

    def stack_file(self, stack: str) -> Path:
        """The owner's copy of ``stacks/Pulumi.<stack>.yaml``."""
        return self.root / "stacks" / f"Pulumi.{stack}.yaml"

    @property
    def key(self) -> Path:
        """The private key that servers let in, mode 0600; the public one lies beside it."""
        return self.root / "ssh" / "id_ed25519"

    @property
    def next_key(self) -> Path:
        """There while the key is exchanged: the one that is to come."""
        return self.root / "ssh" / "next"

    @property
    def former_key(self) -> Path:
        """There while the key is exchanged: the one that servers may still let in."""
        return self.root / "ssh" / "former"

    def known(self, stack: str, host: str) -> Path:
        """The key by which a server is known, as it was pinned on first contact."""
        return self.root / "ssh" / stack / f"{host}.known"

    def files(self, stack: str) -> Path:
        """Rendered files that containers mount read-only."""
        return self.root / "files" / stack

    def sockets(self, stack: str) -> Path:
        """Unix sockets by which this machine's root administers the data plane."""
        return self.root / "run" / stack

    def evidence(self, stack: str) -> Path:
        """Reports of checks."""
        return self.root / "evidence" / stack

    def ages(self, stack: str) -> Path:
        """When the stack's secrets were set."""
        return self.root / "ages" / f"{stack}.json"

    def archive(self, stack: str, folder: str = "") -> Path:
        """Recovery points: in the owner's ``folder``, or else here, on the disk they are to outlive."""
        return Path(folder) / stack if folder else self.root / "archive" / stack

    def fetched(self, stack: str) -> Path:
        """Where a restore brings a copy of the archive to."""
        return self.root / "fetched" / stack

    def unfinished(self, stack: str) -> Path:
        """There while the stack's volumes hold half of a point."""
        return self.root / "locks" / f"{stack}.restoring"

    def drilling(self, stack: str) -> Path:
        """There while the stack is a drill's, which the next drill removes."""
        return self.root / "locks" / f"{stack}.drilling"

    def restoring(self, stack: str) -> Path:
        """The secrets of a restore, for as long as it runs."""
        return self.root / "restore" / stack

    def lock(self, stack: str) -> Path:
        """Held by the one verb that may change the stack."""
        return self.root / "locks" / f"{stack}.lock"
