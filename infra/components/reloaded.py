"""A server that takes up its new certificate without an interruption."""

from __future__ import annotations

import time

import pulumi
from pulumi.dynamic import Resource

from infra import place, presented, words
from infra.components.dynamic import Properties
from infra.components.started import Gate
from infra.errors import MaiaError
from infra.place import Place

PATIENCE = 30.0
"""Seconds within which it must present the new one."""
INTERVAL = 0.2


class ReloadedProvider(Gate):
    def ensure(self, props: Properties) -> Properties:
        container = place.of(props).docker().containers.get(props["container"])
        pid = int(container.attrs["State"]["Pid"])
        if not pid or _presents(pid, props):  # it begins with the new one, or has begun with it
            return {}
        container.kill(signal=props["signal"])
        deadline = time.monotonic() + PATIENCE
        while not _presents(pid, props):
            if time.monotonic() > deadline:
                what = f"presents its old certificate after {props['signal']}; its last words: {words.last(container)}"
                raise MaiaError(what, where=container.name or "", mend=f"maia restart {container.labels['maia.part']}")
            time.sleep(INTERVAL)
        return {}


def _presents(pid: int, props: Properties) -> bool:
    try:
        found = place.of(props).call(presented.certificate, pid, int(props["port"]), props["name"])
    except OSError:
        return False
    return found.strip() == str(props["certificate"]).strip()


class Reloaded(Resource, module="maia", name="Reloaded"):
    """A container that presents ``certificate`` (PEM) at ``port`` to who asks for ``server``; else by ``signal``.

    By its name: the one that comes in its place begins with what lies among its files, and needs no signal.
    """

    def __init__(
        self,
        name: str,
        *,
        container: str,
        certificate: pulumi.Input[str],
        server: str,
        port: int,
        signal: str,
        at: Place,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props = {
            "container": container,
            "certificate": certificate,
            "name": server,
            "port": port,
            "signal": signal,
            **at.inputs,
        }
        super().__init__(ReloadedProvider(), name, props, opts)
