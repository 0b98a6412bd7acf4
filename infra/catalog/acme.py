"""ACME: the client that gets the gateway a certificate from outside, there while ``maia:gateway.acme`` asks for one."""

from __future__ import annotations

from dataclasses import replace

from infra.acme import Acme
from infra.catalog.model import File, Health, Limits, Service, Share, Volume, Zone

BINDING = "acme-eab"
"""The key of an external account binding: the directory gives it to the owner, so it is never generated."""

ISSUED = "/srv/acme"
"""What the gateway sees of this part: the certificate with its key, and answers to challenges. The account's key and
what else the client keeps are in a volume of this part's alone."""

ROOTS = File(path="/etc/maia/roots.pem", template="acme/roots.pem.j2")
"""What a private directory and its certificates are trusted by."""

SERVICE = Service(
    name="acme",
    title="ACME: the gateway's certificate from outside",
    image="certbot",
    version_of="certbot",
    zones=(Zone.EXIT,),
    command=("bash", "/etc/maia/renew.sh"),
    files=(
        File(path="/etc/maia/renew.sh", template="acme/renew.sh.j2"),
        File(path="/run/secrets/certbot.ini", template="acme/certbot.ini.j2"),
    ),
    volumes=(Volume(name="data", path="/data"), Volume(name="issued", path=ISSUED)),
    # Healthy is to be at work or at rest, each for as long as was said. Whether there is a certificate is another
    # question: the appliance comes up without one.
    health=Health(command=("bash", "-c", "(( $(date +%s) < $(< /tmp/until) ))")),
    limits=Limits(memory=192, cpus=0.5, pids=32),
    after=("exit", "gateway"),
)


def client(acme: Acme) -> Service:
    """The client, as this stack's directory needs it."""
    return replace(
        SERVICE,
        secrets=(BINDING,) if acme.key_id else (),
        files=(*SERVICE.files, *((ROOTS,) if acme.roots else ())),
        env={"REQUESTS_CA_BUNDLE": ROOTS.path} if acme.roots else {},
    )


def server(gateway: Service) -> Service:
    """The gateway, serving what the client was given."""
    return replace(
        gateway,
        files=(*gateway.files, File(path="/etc/maia/serve.sh", template="gateway/serve.sh.j2")),
        shares=(*gateway.shares, Share(part=SERVICE.name, path=ISSUED, volume="issued")),
    )


def prober(blackbox: Service, acme: Acme) -> Service:
    """The prober, trusting what the directory issues beside the internal CA, whichever is served."""
    trusted = {"SSL_CERT_DIR": "/etc/maia"} | ({"SSL_CERT_FILE": ROOTS.path} if acme.roots else {})
    files = (ROOTS,) if acme.roots else ()
    return replace(blackbox, env=blackbox.env | trusted, files=(*blackbox.files, *files))
