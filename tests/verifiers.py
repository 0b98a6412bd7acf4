"""What independent verifiers say of a server before and after the roles: ``python -m tests.verifiers`` writes the page.

It makes test hosts of its own and removes them again. Nothing here is tuned to: what a verifier asks for and the roles
do not do is listed too.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker

from infra import atomic
from infra.components import certificate
from infra.lab import Lab
from infra.site import REPO, Site
from tests.bench import machine
from tests.roles import Target, quiet

PAGE = REPO / "docs" / "verifiers.md"
PROFILES = ("standard", "anssi_bp28_minimal", "anssi_bp28_intermediary", "anssi_bp28_high")
"""Of OpenSCAP's content for Debian 12, without those that others took the place of, or that ask for the same here."""
CONTENT = "/usr/share/xml/scap/ssg/content/ssg-debian12-ds.xml"


HEAD = """\
# Independent verifiers

What programs of others say of a server, bare and as our roles make it. `python -m tests.verifiers` (root, Docker) takes
the figures and writes this page, and `maia test --full` asks for an index of 85 or more. Both servers are [test
hosts](testing.md#test-hosts): Debian as mmdebstrap makes it, then all roles but `disks` and `gpu`, with a hardened
Docker and the log sent elsewhere, else as they come.

- **Lynis** of Debian 13, on Debian 13.
- **OpenSCAP** of Debian 12, on Debian 12: the packaged rules are of Debian 12, and in Debian 13's package only; on
  Debian 13 each answers that it does not apply. They are another baseline than ours (ANSSI's), made for iptables,
  rsyslog and partitions of their own, and look for wordings. In a container it leaves out what is of machines only:
  most of the stricter profiles.
- **ansible-lint**, profile `production`, is one of the linters of `maia test`: it finds nothing in `roles`.

They share the kernel of the machine below. Its settings, AppArmor and the audit are written and cannot be applied
there; Lynis counts them as missing, about ten of its points, three of a hundred.
"""
TAIL = """\
## What the index does not make us do

Lynis' points are no aim. What was added since an index of 79 is there for its own sake ([roles](roles.md)): files
compared by AIDE and debsums, temporary folders of one's own, dearer passwords, a banner that names consent, what
packages say of a change shown before an upgrade by hand. Two points are for Debian's own job of debsums, which runs
only where there is cron, beside ours. Not done, though there are points for it: another port for ssh, fail2ban (there
are no passwords to guess), USBGuard, process accounting beside the audit, a scanner for malware on the server.

What it still says:
"""


def told() -> dict[str, Mapping[str, Any]]:
    """The roles that a server gets, and what they are told here: logs go to another machine, which does not answer."""
    ships = {"audit_ship_to": "192.0.2.1", "audit_ship_ca": certificate.authority("logs")[0]}
    own: dict[str, Mapping[str, Any]] = {"audit": ships, "docker": {"docker_hardened": True}}
    names = ("base", "users", "firewall", "hardening", "audit", "updates", "docker", "ssh", "metrics", "integrity")
    return {name: own.get(name, {}) for name in names}


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What Lynis says."""

    version: str
    index: int
    done: int
    """Tests that applied."""
    warnings: tuple[str, ...]
    suggestions: tuple[str, ...]


def lynis(host: Target) -> Audit:
    """Have Debian's Lynis look at a host."""
    host.sh("apt-get -qq update; apt-get -qq install --no-install-recommends lynis >/dev/null")
    host.sh("lynis audit system --quick --no-colors >/dev/null 2>&1 || true")
    return read(host.sh("cat /var/log/lynis-report.dat"))


def read(report: str) -> Audit:
    """Lynis' report: a line each."""
    rows = [line.partition("=")[::2] for line in report.splitlines() if "=" in line]
    values = dict(rows)
    several = {
        kind: tuple(" ".join(value.split("|")[:2]) for name, value in rows if name == f"{kind}[]")
        for kind in ("warning", "suggestion")
    }
    return Audit(
        version=values["lynis_version"],
        index=int(values["hardening_index"]),
        done=int(values["lynis_tests_done"]),
        warnings=several["warning"],
        suggestions=several["suggestion"],
    )


@dataclass(frozen=True, kw_only=True)
class Content:
    """OpenSCAP's rules for Debian 12, which only the package of Debian 13 has."""

    version: str
    text: str
    """Packed, so that it goes past a shell."""


def content(host: Target) -> Content:
    host.sh("apt-get -qq update; apt-get -qq install --no-install-recommends ssg-debian xz-utils >/dev/null")
    return Content(
        version=host.sh("dpkg-query --show --showformat='${Version}' ssg-debian"),
        text=host.sh(f"xz --stdout {CONTENT} | base64 --wrap=0"),
    )


def openscap(host: Target, rules: Content) -> tuple[str, dict[str, Counter[str]]]:
    """Have OpenSCAP of a Debian 12 host look at it.

    Returns:
        Its version, and how many rules of each profile ended in which way.
    """
    host.sh("apt-get -qq update; apt-get -qq install --no-install-recommends openscap-scanner xz-utils >/dev/null")
    host.sh(": >/root/rules.xz")
    for start in range(0, len(rules.text), 100_000):
        host.sh(f"printf %s {rules.text[start : start + 100_000]} >>/root/rules.xz")
    host.sh("base64 --decode /root/rules.xz | xz --decompress >/root/rules.xml")
    found = {}
    for profile in PROFILES:
        said = host.sh(f"oscap xccdf eval --profile {profile} /root/rules.xml 2>/dev/null || true")
        found[profile] = Counter(re.findall(r"^Result\s+(\w+)$", said, re.MULTILINE))
    return host.sh("dpkg-query --show --showformat='${Version}' openscap-scanner"), found


@contextmanager
def hosts(release: str, *names: str) -> Iterator[list[Target]]:
    """Bare test hosts of a Debian."""
    with tempfile.TemporaryDirectory(prefix="maia-verifiers-") as folder:
        lab = Lab(Site(Path(folder) / "site"), docker.from_env())
        try:
            yield [Target(lab.up(f"verifiers-{name}", quiet, release=release)) for name in names]
        finally:
            lab.down(quiet)


def main() -> None:
    with hosts("13", "plain", "prepared") as (plain, prepared):
        before, rules = lynis(plain), content(plain)
        prepared.together(told())
        after = lynis(prepared)
    with hosts("12", "plain-12", "prepared-12") as (plain, prepared):
        version, asked = openscap(plain, rules)
        prepared.together(told())
        _, met = openscap(prepared, rules)
    atomic.write(PAGE, page(before, after, f"{version}, rules {rules.version}", asked, met))


def page(
    before: Audit, after: Audit, scanner: str, asked: Mapping[str, Counter[str]], met: Mapping[str, Counter[str]]
) -> str:
    lines = [
        HEAD,
        f"Taken on {datetime.now(UTC):%Y-%m-%d}: {machine.describe()}.",
        "",
        f"| Lynis {after.version} | bare | prepared |",
        "|---|---|---|",
        f"| hardening index | {before.index} | {after.index} |",
        f"| tests that applied | {before.done} | {after.done} |",
        f"| warnings | {len(before.warnings)} | {len(after.warnings)} |",
        f"| suggestions | {len(before.suggestions)} | {len(after.suggestions)} |",
        "",
        f"| OpenSCAP {scanner}: rules that pass, of those that applied | bare | prepared |",
        "|---|---|---|",
        *(f"| `{profile}` | {_share(asked[profile])} | {_share(met[profile])} |" for profile in PROFILES),
        "",
        TAIL,
        *(f"- {each}" for each in sorted({*after.warnings, *after.suggestions})),
    ]
    return "\n".join(lines) + "\n"


def _share(found: Counter[str]) -> str:
    return f"{found['pass']} of {found['pass'] + found['fail']}"


if __name__ == "__main__":
    main()
