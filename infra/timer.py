"""Drills by the clock of the machine: a timer of systemd, since no part may start anything on the machine."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from infra import atomic
from infra import site as places
from infra.errors import MaiaError
from infra.site import REPO, Site

FOLDER = Path("/etc/systemd/system")
SYSTEMD = Path("/run/systemd/system")
"""There where systemd is the first process."""
WHEN = {"weekly": "Sun *-*-* 04:00:00 UTC", "monthly": "*-*-01 04:00:00 UTC"}
CRON = {"weekly": "0 4 * * 0", "monthly": "0 4 1 * *"}

SERVICE = """\
# Made by `maia drill --schedule`; `maia drill --schedule off` and `maia destroy` remove it.
[Unit]
Description=Drill of the recovery points of the stack {stack}
Documentation=file:{doc}
Wants=docker.service
After=docker.service

[Service]
Type=oneshot
{environment}
ExecStart={command}
Nice=19
IOSchedulingClass=idle
TimeoutStopSec=10min
"""
TIMER = """\
[Unit]
Description=When the recovery points of the stack {stack} are drilled

[Timer]
OnCalendar={when}
RandomizedDelaySec=2h
Persistent=true

[Install]
WantedBy=timers.target
"""


def name(stack: str) -> str:
    return f"maia-drill-{stack}"


def units(stack: str, site: Site, every: str) -> dict[str, str]:
    """The files, by name."""
    lines = [f"Environment={_quoted(f'{key}={value}')}" for key, value in _environment(site).items()]
    command = " ".join(_quoted(word).replace("$", "$$") for word in _command(stack))
    doc = str(REPO / "docs" / "backup.md").replace("%", "%%").replace(" ", "%%20")
    service = SERVICE.format(stack=stack, doc=doc, environment="\n".join(lines), command=command)
    return {f"{name(stack)}.service": service, f"{name(stack)}.timer": TIMER.format(stack=stack, when=WHEN[every])}


def crontab(stack: str, site: Site, every: str) -> str:
    """The same as a line of root's crontab, where % stands for the end of a line."""
    words = [f"{key}={shlex.quote(value)}" for key, value in _environment(site).items()]
    line = " ".join([*words, shlex.join(_command(stack))])
    return f"{CRON[every]} {line}".replace("%", r"\%")


def _command(stack: str) -> list[str]:
    return [str(REPO / "maia"), "drill", "--stack", stack]


def _environment(site: Site) -> dict[str, str]:
    """What the verb finds its things by: now, in a shell, and then, without one."""
    kept = {key: os.environ[key] for key in ("PATH", "MAIA_PYTHON", "DOCKER_HOST") if key in os.environ}
    found = {"MAIA_SITE": str(site.root.resolve()), "MAIA_CACHE": str(places.cache().resolve())}
    return {"HOME": str(Path.home()), **found, **kept}


def _quoted(text: str) -> str:
    """A word as systemd reads it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def install(stack: str, site: Site, every: str) -> None:
    """Have systemd make the drills.

    Raises:
        MaiaError: systemd is not the first process here, or drills a stack of that name in another site.
    """
    if not SYSTEMD.is_dir():
        raise MaiaError(
            "systemd is not the first process here",
            where="drill --schedule",
            mend=f"put this into root's crontab: {crontab(stack, site, every)}",
        )
    if _there(stack) and not _ours(stack, site):
        raise MaiaError(
            "drills the stack of that name in another site",
            where=str(FOLDER / f"{name(stack)}.service"),
            mend="switch it off there, with its MAIA_SITE",
        )
    for file, text in units(stack, site, every).items():
        atomic.write(FOLDER / file, text, mode=0o644)
    _systemctl("daemon-reload")
    _systemctl("enable", f"{name(stack)}.timer")
    _systemctl("restart", f"{name(stack)}.timer")  # one that runs keeps the time it had


def remove(stack: str, site: Site) -> bool:
    """Take it away again; another site's is left.

    Returns:
        Whether there was one.
    """
    if not _there(stack) or not _ours(stack, site):
        return False
    if SYSTEMD.is_dir():
        _systemctl("disable", "--now", f"{name(stack)}.timer")
    for file in (f"{name(stack)}.timer", f"{name(stack)}.service"):
        (FOLDER / file).unlink(missing_ok=True)
    if SYSTEMD.is_dir():
        _systemctl("daemon-reload")
    return True


def _there(stack: str) -> bool:
    return (FOLDER / f"{name(stack)}.service").exists()


def _ours(stack: str, site: Site) -> bool:
    line = f"Environment={_quoted(f'MAIA_SITE={site.root.resolve()}')}"
    return line in (FOLDER / f"{name(stack)}.service").read_text().splitlines()


def _systemctl(*words: str) -> None:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True)
    if done.returncode:
        told = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise MaiaError(told, where=f"systemctl {words[0]}", mend="systemctl status says more")
