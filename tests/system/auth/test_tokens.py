"""Tokens that nobody but the service made let nobody in, and neither do its own where they do not belong."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.system.auth import forging
from tests.system.auth.forging import api_key, encode, es256, hs256
from tests.system.auth.service import Service, Session, why

Claims = dict[str, Any]
NOBODY = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Case:
    """What a forger has: somebody's own token and session, and for some forgeries the service's keys too."""

    service: Service
    session: Session

    @property
    def header(self) -> dict[str, Any]:
        return forging.read(self.session.access)[0]

    @property
    def claims(self) -> Claims:
        return forging.read(self.session.access)[1]

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        """What the service signs with."""
        return forging.private(next(k for k in self.service.keys()["signing"] if k["kid"] == self.header["kid"]))

    @property
    def api(self) -> dict[str, str]:
        found: dict[str, str] = self.service.keys()["api"]
        return found

    @property
    def public(self) -> dict[str, str]:
        """The key as the service publishes it."""
        keys = self.service.send("GET", "/.well-known/jwks.json", key=None).json()["keys"]
        found: dict[str, str] = next(key for key in keys if key["kid"] == self.header["kid"])
        return found

    def signed(self, header: Claims | None = None, **claims: Any) -> str:
        """By the service's own key, with these members changed; None takes one away."""
        changed = {name: value for name, value in (self.claims | claims).items() if value is not None}
        return es256(self.header | (header or {}), changed, self.key)


@pytest.fixture
def case(service: Service) -> Case:
    return Case(service, service.session(service.person()))


def _pem(case: Case, form: serialization.PublicFormat, encoding: serialization.Encoding) -> bytes:
    return case.key.public_key().public_bytes(encoding, form)


def _spki(case: Case) -> bytes:
    return _pem(case, serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding.PEM)


def _none(name: str) -> Callable[[Case], str]:
    return lambda case: forging.joined({"alg": name, "typ": "JWT"}, case.claims) + "."


def _confused(secret: Callable[[Case], bytes]) -> Callable[[Case], str]:
    return lambda case: hs256(case.header | {"alg": "HS256"}, case.claims, secret(case))


def _own(header: Callable[[ec.EllipticCurvePrivateKey], Claims]) -> Callable[[Case], str]:
    """Signed by the forger's key, which the header recommends."""

    def forged(case: Case) -> str:
        key = ec.generate_private_key(ec.SECP256R1())
        return es256(case.header | header(key), case.claims, key)

    return forged


def _jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    point = {"x": encode(numbers.x.to_bytes(32)), "y": encode(numbers.y.to_bytes(32))}
    return {"kty": "EC", "crv": "P-256", **point}


def _cut(part: int, change: Callable[[str], str]) -> Callable[[Case], str]:
    def forged(case: Case) -> str:
        parts = case.session.access.split(".")
        parts[part] = change(parts[part])
        return ".".join(parts)

    return forged


EVIL = "https://evil.example/jwks.json"
FORGED: dict[str, Callable[[Case], str]] = {
    **{f"alg {name}": _none(name) for name in ("none", "None", "NONE", "nOnE", "")},
    "no alg": lambda case: forging.joined({"typ": "JWT"}, case.claims) + ".",
    "the signature taken away": _cut(2, lambda _: ""),
    "HS256 by the public key as PEM": _confused(_spki),
    "HS256 by it without the last line end": _confused(lambda case: _spki(case).rstrip()),
    "HS256 by it as DER": _confused(
        lambda case: _pem(case, serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding.DER)
    ),
    "HS256 by its point": _confused(
        lambda case: _pem(case, serialization.PublicFormat.UncompressedPoint, serialization.Encoding.X962)
    ),
    "HS256 by it as JWK": _confused(lambda case: json.dumps(case.public).encode()),
    "HS256 by its name": _confused(lambda case: case.header["kid"].encode()),
    "HS256 by nothing": _confused(lambda _: b""),
    "HS256 by the key of API keys": _confused(lambda case: forging.decode(case.api["k"])),
    "the same under its name": lambda case: hs256(
        {"alg": "HS256", "kid": case.api["kid"]}, case.claims, forging.decode(case.api["k"])
    ),
    "by another key": _own(lambda _: {}),
    "by another key, which it carries": _own(lambda key: {"jwk": _jwk(key)}),
    "by another key, which it carries under a name of its own": _own(lambda key: {"jwk": _jwk(key), "kid": "mine"}),
    "by another key, which is elsewhere": _own(lambda _: {"jku": EVIL}),
    "by another key, whose certificate is elsewhere": _own(lambda _: {"x5u": EVIL}),
    "by another key, whose certificate it carries": _own(lambda _: {"x5c": ["MIIB"]}),
    "by another key, without a name": _own(lambda _: {"kid": None}),
    "by another key, under a name that is no text": _own(lambda _: {"kid": {"$ne": None}}),
    "by another key, under the name of a file": _own(lambda _: {"kid": "../../../../dev/null"}),
    "by another key, under a name that asks the database": _own(lambda _: {"kid": "x' or '1'='1"}),
    "under a name that is unknown": lambda case: case.signed({"kid": "unknown"}),
    "with something critical": lambda case: case.signed({"crit": ["exp"], "exp": 1}),
    "with something critical and unknown": lambda case: case.signed({"crit": ["maia"], "maia": True}),
    "critical, and not there": lambda case: case.signed({"crit": ["maia"]}),
    "not encoded": lambda case: case.signed({"crit": ["b64"], "b64": False}),
    "said to be ES384": lambda case: case.signed({"alg": "ES384"}),
    "said to be RS256": lambda case: case.signed({"alg": "RS256"}),
    "said to be ES256K": lambda case: case.signed({"alg": "ES256K"}),
    "said to be es256": lambda case: case.signed({"alg": "es256"}),
    "two algorithms": lambda case: case.signed({"alg": ["ES256", "none"]}),
    "a signature of zeros": _cut(2, lambda _: encode(bytes(64))),
    "a signature in DER": _cut(2, lambda _: encode(bytes.fromhex("3006020101020101"))),
    "a signature cut short": _cut(2, lambda text: text[:-4]),
    "a signature that goes on": _cut(2, lambda text: text + "AAAA"),
    "claims of one's own": _cut(
        1, lambda text: encode(forging.decode(text).replace(b'"authenticated"', b'"service_role"'))
    ),
    "no claims": _cut(1, lambda _: encode(b"{}")),
    "claims that are no object": _cut(1, lambda _: encode(b"[]")),
    "claims that are no JSON": _cut(1, lambda _: encode(b"{")),
    "claims that are no text": _cut(1, lambda _: encode(b"\xff\xfe\x00")),
    "a header that is no object": _cut(0, lambda _: encode(b'"ES256"')),
    "a header that is no JSON": _cut(0, lambda _: encode(b"{")),
    "a header that is deep": _cut(0, lambda _: encode(b"[" * 3000)),
    "letters that are none of base64": _cut(1, lambda text: text[:-1] + "%"),
    "one part": lambda case: case.session.access.replace(".", ""),
    "five parts": lambda case: case.session.access + ".AAAA.AAAA",
    "only dots": lambda _: "..",
    "expired": lambda case: case.signed(iat=int(time.time()) - 7200, exp=int(time.time()) - 3600),
    "expired a moment ago": lambda case: case.signed(exp=int(time.time()) - 10),
    "never expires": lambda case: case.signed(exp=None),
    "expires at a word": lambda case: case.signed(exp="never"),
    "expires at infinity": lambda case: case.signed(exp=float("inf")),
    "not yet": lambda case: case.signed(nbf=int(time.time()) + 3600),
    "for somebody else": lambda case: case.signed(aud="another-service"),
    "for nobody": lambda case: case.signed(aud=None),
    "for an empty list": lambda case: case.signed(aud=[]),
    "for one whose name begins the same": lambda case: case.signed(aud="authenticated-users"),
    "from somebody else": lambda case: case.signed(iss="https://evil.example/auth/v1"),
    "from the same, spelled otherwise": lambda case: case.signed(iss=case.claims["iss"] + "/"),
    "from nobody": lambda case: case.signed(iss=None),
    "of nobody": lambda case: case.signed(sub=None),
    "of a name": lambda case: case.signed(sub="admin"),
    "of somebody who never was": lambda case: case.signed(sub=NOBODY),
    "without a session": lambda case: case.signed(session_id=None),
    "of a session that never was": lambda case: case.signed(session_id=NOBODY),
    "of a session that asks the database": lambda case: case.signed(session_id="x' or '1'='1"),
    "of somebody else's session": lambda case: case.signed(
        session_id=forging.read(case.service.session(case.service.person()).access)[1]["session_id"]
    ),
}
KEYS: dict[str, Callable[[Case], str]] = {
    "the public key": lambda case: case.service.anon,
    "a user's token": lambda case: case.session.access,
    "a user's token with the role": lambda case: case.signed(role="service_role"),
    "a user's token that looks like one": lambda case: es256(
        {"alg": "ES256", "kid": case.api["kid"]}, forging.read(case.service.admin)[1], case.key
    ),
    "alg none": lambda case: forging.joined({"alg": "none"}, forging.read(case.service.admin)[1]) + ".",
    "the public key with another role": lambda case: ".".join(
        (case.service.anon.split(".")[0], case.service.admin.split(".")[1], case.service.anon.split(".")[2])
    ),
    "by another secret": lambda case: api_key("service_role", {"k": encode(b"s" * 32), "kid": case.api["kid"]}),
    "by nothing": lambda case: api_key("service_role", {"k": "", "kid": case.api["kid"]}),
    "by the public half of the users' key": lambda case: api_key(
        "service_role", {"k": encode(_spki(case)), "kid": case.header["kid"]}
    ),
    "expired": lambda case: api_key("service_role", case.api, exp=int(time.time()) - 1),
    "never expires": lambda case: api_key("service_role", case.api, exp="never"),
    "another role": lambda case: api_key("authenticated", case.api),
    "the role of the database's owner": lambda case: api_key("postgres", case.api),
    "no text for a role": lambda case: api_key(["service_role"], case.api),  # type: ignore[arg-type]
    "with something critical": lambda case: hs256(
        {"alg": "HS256", "kid": case.api["kid"], "crit": ["maia"], "maia": 1},
        forging.read(case.service.admin)[1],
        forging.decode(case.api["k"]),
    ),
    "rubbish": lambda _: "rubbish",
}


def test_what_the_service_itself_might_have_made_is_taken(case: Case) -> None:
    """Without this the forgeries might be refused for the way in which they are put together."""
    assert case.service.user(case.signed()).status_code == 200
    assert case.service.user(case.signed(exp=int(time.time()) + 60)).json()["id"] == case.session.user["id"]
    made = api_key("service_role", case.api)
    assert case.service.send("GET", "/admin/users", key=made, token=made).status_code == 200


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_nobody_s(name: str, case: Case) -> None:
    status, code = why(case.service.user(FORGED[name](case)))
    assert status in (401, 403)
    assert code in ("bad_jwt", "session_not_found", "user_not_found", "no_authorization")


@pytest.mark.parametrize("name", KEYS)
def test_what_is_no_service_key_administers_nobody(name: str, case: Case) -> None:
    forged = KEYS[name](case)
    for key in (case.service.anon, forged):
        for path in ("/admin/users", f"/admin/users/{case.session.user['id']}"):
            status, code = why(case.service.send("GET", path, key=key, token=forged))
            assert status in (401, 403)
            assert code in ("bad_jwt", "not_admin", "no_authorization")


@pytest.mark.parametrize("role", ["anon", "service_role"])
def test_an_api_key_is_no_user(role: str, case: Case) -> None:
    key = case.service.anon if role == "anon" else case.service.admin
    for method, path in (("GET", "/user"), ("PUT", "/user"), ("POST", "/factors"), ("GET", "/reauthenticate")):
        assert case.service.send(method, path, key=key, token=key, json={}).status_code in (401, 403)


def test_without_a_key_nothing_is_done(service: Service) -> None:
    email = f"{uuid.uuid4()}@example.org"
    for key in (None, "rubbish", service.anon[:-3]):
        for path in ("/signup", "/token?grant_type=password", "/recover", "/otp", "/resend"):
            answer = service.post(path, {"email": email, "password": "x" * 20, "type": "signup"}, key=key)
            assert why(answer) in ((401, "no_authorization"), (401, "bad_jwt"), (403, "bad_jwt")), path
    assert service.count(email) == 0


@pytest.mark.parametrize(
    "sent", [b"Basic dXNlcjpwYXNz", b"Bearer", b"Token x", b"Bearer a b c", b"\xe9", b"Bearer \xff.\xff.\xff"]
)
def test_an_authorization_that_is_none(sent: bytes, service: Service) -> None:
    assert service.send("GET", "/user", headers={"Authorization": sent}).status_code in (401, 403)


def test_a_token_in_the_address_is_not_looked_at(case: Case) -> None:
    assert case.service.send("GET", f"/user?access_token={case.session.access}").status_code == 401


def test_a_published_key_has_no_private_half(case: Case) -> None:
    told = case.service.send("GET", "/.well-known/jwks.json", key=None).json()
    for key in told["keys"]:
        assert key["alg"] == "ES256"
        assert not {"d", "k", "p", "q"} & set(key)
    assert case.api["kid"] not in [key["kid"] for key in told["keys"]]
    assert "max-age" in case.service.send("GET", "/.well-known/jwks.json", key=None).headers.get("cache-control", "")
