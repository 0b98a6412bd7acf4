"""Images from a registry, by digest. Docker pulls them, with its own credentials and mirrors; here it is watched."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from infra.errors import MaiaError
from infra.toolchain.process import patience

if TYPE_CHECKING:
    import docker

Say = Callable[[str], None]


def pull(client: docker.DockerClient, reference: str, where: str, say: Say) -> None:
    """Have ``name@sha256:…`` in Docker.

    Args:
        where: the key of the stack file that names it.

    Raises:
        MaiaError: the registry refuses, has it not, cannot be reached, or falls silent.
    """
    limit = patience()
    events = _events(client, reference)
    arrived: dict[str, int] = {}
    while True:
        try:
            event = events.get(timeout=limit)
        except queue.Empty:
            raise MaiaError(
                f"{reference} hangs: nothing came for {limit:g} s",
                where=where,
                mend="check the network and the registry, or allow more seconds in MAIA_FETCH_TIMEOUT",
            ) from None
        if event is None:
            return
        if isinstance(event, Exception) or "error" in event:
            reason = getattr(event, "explanation", None) or (event["error"] if isinstance(event, dict) else event)
            raise _refused(reference, where, " ".join(str(reason).split()))
        if event.get("status") == "Downloading":
            arrived[event["id"]] = event["progressDetail"].get("current", 0)
            say(f"{sum(arrived.values()) // 10**6} MB of {reference.partition('@')[0]}")


def _events(client: docker.DockerClient, reference: str) -> queue.SimpleQueue[dict[str, Any] | Exception | None]:
    """What Docker says while it pulls, an exception where it ended badly, and none at the end."""
    name, _, digest = reference.partition("@")
    events: queue.SimpleQueue[dict[str, Any] | Exception | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            for event in client.api.pull(name, tag=digest, stream=True, decode=True):
                events.put(event)
        except Exception as error:  # whatever it is, it is told by who waits
            events.put(error)
        events.put(None)

    # Docker's own client waits for ever; the pull ends with this process.
    threading.Thread(target=read, daemon=True).start()
    return events


def _refused(reference: str, where: str, reason: str) -> MaiaError:
    mend = "check the network and the registry"
    if "not found" in reason or "unknown" in reason:
        mend = "check its name and digest"
    elif any(word in reason for word in ("unauthorized", "no basic auth", "denied")):
        mend = f"docker login {reference.partition('/')[0]}"
    return MaiaError(f"{reference} cannot be had: {reason}", where=where, mend=mend)
