"""Docker's own bridge, over which containers meet what listens on this machine."""

from __future__ import annotations

import ipaddress

import docker


def address() -> str:
    """This machine's on it: the subnet's first, which a Docker that was never restarted does not name."""
    (config,) = docker.from_env().networks.get("bridge").attrs["IPAM"]["Config"]
    return str(config.get("Gateway") or next(ipaddress.ip_network(config["Subnet"]).hosts()))
