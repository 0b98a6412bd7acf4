"""Wishes for a server's files, logs, clock, disks and cards that are more than a fact compared with a word."""

from __future__ import annotations

from typing import Any

from checks.seen import Seen

CLOCKS = ("chrony", "ntp", "ntpsec", "openntpd", "systemd-timesyncd")
RAISED = {
    *("/usr/bin/" + name for name in ("chage", "chfn", "chsh", "crontab", "dotlockfile", "expiry", "fusermount3",
      "gpasswd", "mount", "newgidmap", "newgrp", "newuidmap", "passwd", "ssh-agent", "su", "sudo", "umount", "wall",
      "write")),
    *("/usr/sbin/" + name for name in ("unix_chkpwd", "postdrop", "postqueue")),
    *("/usr/lib/dbus-1.0/dbus-daemon-launch-helper", "/usr/lib/openssh/ssh-keysign"),
    "/usr/lib/polkit-1/polkit-agent-helper-1",
    *("/usr/libexec/pam-tmpdir/pam-tmpdir-helper", "/usr/sbin/pam-tmpdir-helper"),
    "/usr/lib/x86_64-linux-gnu/utempter/utempter",
}  # fmt: skip
"""Programs of Debian that run with another's rights."""


def one_clock(seen: Seen) -> tuple[Any, Any]:
    packages = seen.facts.of("packages")
    found = [name for name in CLOCKS if name in packages]
    return found, found[:1] or ["one of " + ", ".join(CLOCKS)]


def clock_runs(seen: Seen) -> tuple[Any, Any]:
    units = seen.facts.of("units")
    running = [name for name in ("chrony.service", "systemd-timesyncd.service") if units[name].endswith(" active")]
    return running, running[:1] or ["one of chrony, systemd-timesyncd"]


def ships(seen: Seen) -> bool:
    return any(role.variables.get("audit_ship_to") for role in seen.host.roles)


def one_log(seen: Seen) -> tuple[Any, Any]:
    """The journal keeps the logs; rsyslog is beside it only where it takes them elsewhere."""
    return "rsyslog" in seen.facts.of("packages"), ships(seen)


def shipped(seen: Seen) -> tuple[Any, Any]:
    """Logs go elsewhere, all the time, and by TLS."""
    packages, units = seen.facts.of("packages"), seen.facts.of("units")
    tls = any(name in packages for name in ("rsyslog-openssl", "rsyslog-gnutls"))
    return {"by": units["rsyslog.service"], "tls": tls}, {"by": "enabled active", "tls": True}


def loaded(seen: Seen) -> tuple[Any, Any]:
    """The kernel keeps to the rules that the files hold."""
    audit = seen.facts.of("audit")
    filed = [rule for rule in audit["rules"] if rule.startswith(("-w", "-a", "-A"))]
    found = [rule for rule in audit["loaded"] if rule.startswith(("-w", "-a", "-A"))]
    enough = len(found) >= len(filed) > 0
    return f"{len(found)} in the kernel", f"{len(found)} in the kernel" if enough else f"{len(filed)} or more"


def open_files(seen: Seen) -> tuple[Any, Any]:
    scan = seen.facts.of("scan")
    return [*scan["open"], *scan["unsticky"]], []


def orphans(seen: Seen) -> tuple[Any, Any]:
    return seen.facts.of("scan")["orphan"], []


def raised(seen: Seen) -> tuple[Any, Any]:
    """Programs that run with another's rights are those that Debian has for it."""
    return sorted({*seen.facts.of("scan")["raised"]} - RAISED), []


def logs(seen: Seen) -> tuple[Any, Any]:
    return seen.facts.of("scan")["logs"], []


def swap(seen: Seen) -> tuple[Any, Any]:
    """What memory is written to is encrypted."""
    disks = seen.facts.of("disks")
    return sorted(each for each in disks["swaps"] if not each.startswith("/dev/dm-")), []


def data_disk(seen: Seen) -> tuple[Any, Any]:
    """The disk of the appliance's data opens with a key."""
    return "/var/lib/docker" in seen.facts.of("disks")["encrypted"], True


def gpu(seen: Seen) -> tuple[Any, Any]:
    """Each card has its driver, stays ready, and is described to containers."""
    found = seen.facts.of("gpu")
    ready = [line for line in found["said"] if line.endswith(("Enabled", "On"))]
    return {"ready": len(ready), "described": bool(found["cdi"])}, {"ready": len(found["cards"]), "described": True}
