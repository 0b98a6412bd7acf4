"""Lab hosts as servers of a stack: bare, with a user that lets the site's key in."""

from __future__ import annotations

from typing import Any

from infra.lab import Lab
from infra.site import Site
from infra.ssh import Server
from tests.roles import quiet

ARCHIVES = """
pack() {  # name, version, setting, archive
    mkdir -p /srv/$4 /tmp/pack/DEBIAN /tmp/pack/etc
    printf 'Package: %s\\nVersion: %s\\nArchitecture: all\\nMaintainer: a test\\nDescription: a test\\n' $1 $2 \\
        >/tmp/pack/DEBIAN/control
    echo /etc/$1.conf >/tmp/pack/DEBIAN/conffiles
    echo $3 >/tmp/pack/etc/$1.conf
    dpkg-deb --root-owner-group --build /tmp/pack /srv/$4/$1.deb >/dev/null
    { dpkg-deb --field /srv/$4/$1.deb
      printf 'Filename: ./%s.deb\\nSize: %s\\nSHA256: %s\\n\\n' $1 $(stat -c %s /srv/$4/$1.deb) \\
        $(sha256sum /srv/$4/$1.deb | cut -d' ' -f1); } >>/srv/$4/Packages
    rm -r /tmp/pack
}
archive() {  # name, codename, label
    printf 'Origin: Debian\\nLabel: %s\\nSuite: %s\\nCodename: %s\\nDate: %s\\nSHA256:\\n %s %s Packages\\n' $3 $2 $2 \\
        "$(date -uR)" $(sha256sum /srv/$1/Packages | cut -d' ' -f1) $(stat -c %s /srv/$1/Packages) >/srv/$1/Release
    echo "deb [trusted=yes] copy:/srv/$1 ./" >>/etc/apt/sources.list.d/test.list
}
for name in urgent common; do
    pack $name 1 former first
    dpkg --install /srv/first/$name.deb >/dev/null
    echo changed here >/etc/$name.conf
done
pack urgent 2 newer security
pack common 2 newer stable
archive security trixie-security Debian-Security
archive stable trixie Debian
apt-get -qq update
"""
"""Two packages that are there in a former version and in a newer one: an urgent one and a common one."""


def letting_in(lab: Lab, name: str, site: Site, **options: Any) -> Server:
    """A bare lab host whose user lets the site's key in."""
    server = lab.up(name, quiet, **options)
    key = site.key.with_suffix(".pub").read_text().strip()
    done = server.run("sh", "-c", f"echo >>.ssh/authorized_keys; echo '{key}' >>.ssh/authorized_keys")
    assert done.returncode == 0, done.stderr
    return server


def given(server: Server, **more: Any) -> dict[str, Any]:
    """What a stack file says of a lab host."""
    return {"address": server.address, "login": server.user, "kernel": "shared"} | more


def root(server: Server, script: str) -> str:
    """What root's shell says there; it must succeed."""
    done = server.run("sudo", "sh", "-euc", script)
    assert done.returncode == 0, done.stderr
    return done.stdout
