"""Certificates from the stack's own CA."""

from __future__ import annotations

import datetime
import ipaddress

import pulumi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pulumi.dynamic import Resource

from infra.components.dynamic import Properties, Provider

DAYS = 397
"""Validity; clients refuse longer ones."""
RENEW = 1 / 3
"""Of its life: when less is left, the next ``up`` makes a new one."""


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def authority(stack: str) -> tuple[str, str]:
    """A new CA for one stack: (certificate, key), PEM. It may sign leaves only; valid for ten years."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"MAIA {stack} internal CA")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), _pem(key)


def issue(names: list[str], ca_certificate: str, ca_key: str) -> tuple[str, str]:
    """A server certificate for ``names`` (DNS or IP): (certificate, key), PEM."""
    issuer = x509.load_pem_x509_certificate(ca_certificate.encode())
    signer = serialization.load_pem_private_key(ca_key.encode(), password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(min(now + datetime.timedelta(days=DAYS), issuer.not_valid_after_utc))
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), _pem(key)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def left(certificate: str, now: datetime.datetime | None = None) -> float:
    """The part of its life that ``certificate`` (PEM) has before it."""
    found = x509.load_pem_x509_certificate(certificate.encode())
    end = found.not_valid_after_utc
    return (end - (now or datetime.datetime.now(datetime.UTC))) / (end - found.not_valid_before_utc)


class CertificateProvider(Provider):
    def identity(self, props: Properties) -> str:
        return ",".join(props["names"])

    def ensure(self, props: Properties) -> Properties:
        certificate, key = issue(props["names"], props["ca_certificate"], props["ca_key"])
        return {"certificate": certificate, "key": key}

    def observe(self, props: Properties) -> Properties | None:
        return {}

    def remove(self, props: Properties) -> None:
        """Nothing to do: its files go with the part that mounts them."""

    def expired(self, props: Properties) -> bool:
        return left(props["certificate"]) < RENEW


class Certificate(Resource, module="maia", name="Certificate"):
    """A server certificate and its key; renewed by the next ``up`` in the last third of its life.

    Args:
        generation: another one makes it anew.
    """

    certificate: pulumi.Output[str]
    key: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        names: list[str],
        ca_certificate: pulumi.Input[str],
        ca_key: pulumi.Input[str],
        generation: pulumi.Input[str] | None,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props = {
            "names": names,
            "generation": generation,
            "ca_certificate": ca_certificate,
            "ca_key": ca_key,
            "certificate": None,
            "key": None,
        }
        secret = pulumi.ResourceOptions(additional_secret_outputs=["key", "ca_key"])
        super().__init__(CertificateProvider(), name, props, pulumi.ResourceOptions.merge(opts, secret))
