"""Kernel, file systems, packages and units."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from checks.look.means import ROOT, Ask, lines, read, run, settings


def release(ask: Ask) -> Any:
    found = {name: value.strip('"') for name, value in settings("etc/os-release").items()}
    return {"id": found.get("ID"), "version": found.get("VERSION_ID"), "kernel": os.uname().release,
            "name": socket.gethostname(), "shared": bool(read("/run/systemd/container"))}  # fmt: skip


def sysctl(ask: Ask) -> Any:
    found = {name: " ".join(read(f"/proc/sys/{name.replace('.', '/')}").split()) for name in ask["sysctl"]}
    return {name: value for name, value in found.items() if value}


def modules(ask: Ask) -> Any:
    """By module: ``loaded``, ``blocked`` (also for whoever asks for it by name), ``available`` or ``absent``."""
    loaded = {line.split()[0] for line in read("/proc/modules").splitlines()}
    rules = [line.split() for line in lines(*(f"{place}/modprobe.d/*.conf" for place in ("usr/lib", "run", "etc")))]
    shut = {words[1].replace("-", "_") for words in rules if words[0] == "install"
            and words[-1] in ("/bin/false", "/bin/true", "/usr/bin/false", "/usr/bin/true")}  # fmt: skip
    folder = f"/lib/modules/{os.uname().release}"
    there = read(f"{folder}/modules.dep") + read(f"{folder}/modules.builtin")
    names = {Path(line.split(":")[0]).name.split(".ko")[0].replace("-", "_") for line in there.splitlines()}

    def state(name: str) -> str:
        if name in loaded:
            return "loaded"
        return "blocked" if name in shut else "available" if name in names else "absent"

    return {name: state(name.replace("-", "_")) for name in ask["modules"]}


def mounts(ask: Ask) -> Any:
    found = {}
    for line in read("/proc/self/mounts").splitlines():
        source, point, kind, options, *_ = line.split()
        found[point] = {"source": source, "type": kind, "options": options.split(",")}
    return found


def units(ask: Ask) -> Any:
    """By unit: ``absent``, or how it is enabled and whether it is active."""
    said = run("systemctl", "show", "--property=Id,LoadState,ActiveState,UnitFileState", *ask["units"])
    found = {}
    for name, block in zip(ask["units"], said.split("\n\n")):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        loaded = values.get("LoadState") == "loaded"
        found[name] = f"{values.get('UnitFileState')} {values.get('ActiveState')}" if loaded else "absent"
    return found


def packages(ask: Ask) -> Any:
    said = run("dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n")
    rows = (line.split(" ") for line in said.splitlines())
    return {row[0]: row[1] for row in rows if row[-1] == "installed"}


def apt(ask: Ask) -> Any:
    found: dict[str, list[str]] = {}
    for line in run("apt-config", "dump").splitlines():
        name, _, value = line.rstrip(";").partition(" ")
        if value.strip('"'):
            found.setdefault(name.removesuffix("::"), []).append(value.strip('"'))
    return found


def systemd(ask: Ask) -> Any:
    """Settings of systemd's own programs, as it puts their files together: ``journald.Storage`` and so on."""
    found = {}
    for name in ("journald", "coredump", "timesyncd"):
        for line in run("systemd-analyze", "cat-config", f"systemd/{name}.conf").splitlines():
            if "=" in line and not line.startswith(("#", ";")):
                key, _, value = line.partition("=")
                found[f"{name}.{key.strip()}"] = value.strip()
    return found


def docker(ask: Ask) -> Any:
    """What the daemon was told and what it says of itself; empty where there is none."""
    if not any(ROOT.glob("usr/*bin/dockerd")):
        return {}
    said = run("docker", "info", "--format", "{{json .}}")
    info = json.loads(said) if said.startswith("{") else {}
    kept = ("ServerVersion", "Driver", "LoggingDriver", "LiveRestoreEnabled", "SecurityOptions", "ExperimentalBuild")
    return {
        "told": json.loads(read("/etc/docker/daemon.json") or "{}"),
        **{key: info.get(key) for key in kept},
        "swarm": (info.get("Swarm") or {}).get("LocalNodeState", ""),
        "insecure": (info.get("RegistryConfig") or {}).get("InsecureRegistryCIDRs") or [],
    }


def apparmor(ask: Ask) -> Any:
    said = run("aa-status", "--json")
    found = json.loads(said) if said.startswith("{") else {}
    processes = found.get("processes", {})
    return {
        "enabled": read("/sys/module/apparmor/parameters/enabled").strip() or "N",
        "modes": sorted({*found.get("profiles", {}).values()}),
        "unconfined": sorted(n for n, each in processes.items() if any(p["status"] == "unconfined" for p in each)),
    }


def disks(ask: Ask) -> Any:
    said = run("lsblk", "--json", "--list", "--output", "NAME,TYPE,MOUNTPOINTS")
    devices = json.loads(said)["blockdevices"] if said.startswith("{") else []
    return {
        "encrypted": sorted({at for each in devices if each["type"] == "crypt" for at in each["mountpoints"] if at}),
        "swaps": [line.split()[0] for line in read("/proc/swaps").splitlines()[1:]],
    }


def gpu(ask: Ask) -> Any:
    """Cards of NVIDIA, and what is there to use them; no more than the first where there is none."""
    devices = Path("/sys/bus/pci/devices")
    cards = [
        path.parent.name
        for path in devices.glob("*/vendor")
        if path.read_text().strip() == "0x10de" and (path.parent / "class").read_text().startswith("0x03")
    ]
    if not cards:
        return {"cards": []}
    said = run("nvidia-smi", "--query-gpu=driver_version,persistence_mode", "--format=csv,noheader")
    specifications = [str(path) for place in ("etc/cdi", "var/run/cdi") for path in ROOT.glob(f"{place}/*")]
    return {"cards": cards, "said": said.splitlines(), "cdi": specifications}


LOOKS = {
    "os": release, "sysctl": sysctl, "modules": modules, "mounts": mounts, "units": units, "packages": packages,
    "apt": apt, "systemd": systemd, "docker": docker, "apparmor": apparmor, "disks": disks, "gpu": gpu,
}  # fmt: skip
