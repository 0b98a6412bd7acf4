"""What this machine was told about where packages come from, so that a lab host is told the same."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

VARIABLES = re.compile(
    r"(?i:https?_proxy|ftp_proxy|no_proxy)"
    r"|PIP_(INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|PROXY|CERT|DEFAULT_TIMEOUT|RETRIES)"
    r"|GO(PROXY|SUMDB|NOPROXY|NOSUMDB|PRIVATE|INSECURE)"
    r"|MAIA_(DEBIAN_MIRROR|DEBIAN_SECURITY_MIRROR|FETCH_TIMEOUT)"
)
APT = re.compile(r'Acquire::(?:https?|ftp|Retries|Check-Date|Check-Valid-Until)(?:::\S+)? ".+";')
CERTIFICATES = Path("/usr/local/share/ca-certificates")
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


def settings() -> dict[str, bytes]:
    """Path on the lab host to content."""
    home = Path.home()
    files = {
        "etc/pip.conf": Path("/etc/pip.conf"),
        "root/.config/pip/pip.conf": home / ".config/pip/pip.conf",
        BUNDLE.as_posix().lstrip("/"): BUNDLE,
        **{path.as_posix().lstrip("/"): path for path in CERTIFICATES.glob("*.crt")},
    }
    found = {target: source.read_bytes() for target, source in files.items() if source.is_file()}
    said = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True).stdout
    found["etc/apt/apt.conf.d/90machine"] = _lines(APT.findall(said))
    found["etc/environment"] = _lines(f"{name}={value}" for name, value in _environment(os.environ).items())
    return found


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """Of the variables, those about packages; what the go command was told for good is given as variables too."""
    told = Path(own.get("GOENV") or Path.home() / ".config/go/env")
    lines = told.read_text().splitlines() if told.is_file() else []
    kept = dict(line.split("=", 1) for line in lines if "=" in line) | dict(own)
    return {name: value for name, value in sorted(kept.items()) if VARIABLES.fullmatch(name)}


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
