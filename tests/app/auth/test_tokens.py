"""Access tokens: which are taken, and how other services check them without asking."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from app.common.tokens import Invalid, Remote, Verifier
from tests.app.auth.service import ISSUER, Person, Place, Running, good, new_signing_key, person, refused, running

Forger = Callable[[Place, dict[str, Any]], str]


def key_of(place: Place) -> Any:
    return jwt.PyJWK(place.keys["signing"][0], algorithm="ES256").key


def sign(place: Place, claims: dict[str, Any], key: Any = None, alg: str = "ES256", **header: Any) -> str:
    told = {"kid": place.keys["signing"][0]["kid"], **header}
    return jwt.encode(claims, key if key is not None else key_of(place), algorithm=alg, headers=told)


def pem(place: Place) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    found: bytes = key_of(place).public_key().public_bytes(serialization.Encoding.PEM, form)
    return found


def unsigned(place: Place, claims: dict[str, Any], alg: str) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    kid = place.keys["signing"][0]["kid"]
    return f"{part({'alg': alg, 'typ': 'JWT', 'kid': kid})}.{part(claims)}."


def hmac_with(place: Place, claims: dict[str, Any], secret: bytes) -> str:
    head = unsigned(place, claims, "HS256").rstrip(".")
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(head.encode(), secret)
    return f"{head}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def swapped(place: Place, claims: dict[str, Any]) -> str:
    """The signature of one token under the claims of another."""
    one, other = sign(place, claims), sign(place, {**claims, "sub": str(uuid4())})
    return ".".join([*other.split(".")[:2], one.split(".")[2]])


STRANGER = ec.generate_private_key(ec.SECP256R1())
FORGED: dict[str, Forger] = {
    "none": lambda place, claims: unsigned(place, claims, "none"),
    "None": lambda place, claims: unsigned(place, claims, "None"),
    "empty": lambda place, claims: unsigned(place, claims, "ES256"),
    "public key as a secret": lambda place, claims: hmac_with(place, claims, pem(place)),
    "api key's secret": lambda place, claims: hmac_with(place, claims, place.api),
    "other key": lambda place, claims: sign(place, claims, STRANGER),
    "other key by its own": lambda place, claims: sign(place, claims, STRANGER, kid="mine"),
    "jwk": lambda place, claims: sign(
        place, claims, STRANGER, jwk=json.loads(jwt.algorithms.ECAlgorithm.to_jwk(STRANGER.public_key()))
    ),
    "jku": lambda place, claims: sign(place, claims, STRANGER, jku="http://127.0.0.1:9/jwks.json"),
    "x5u": lambda place, claims: sign(place, claims, STRANGER, x5u="http://127.0.0.1:9/cert.pem"),
    "crit": lambda place, claims: sign(place, claims, crit=["exp"]),
    "RS256": lambda place, claims: sign(place, claims, rsa.generate_private_key(65537, 2048), "RS256"),
    "no kid": lambda place, claims: jwt.encode(claims, key_of(place), algorithm="ES256"),
    "kid is a path": lambda place, claims: sign(place, claims, kid="../../dev/null"),
    "expired": lambda place, claims: sign(place, {**claims, "exp": int(time.time()) - 60}),
    "not yet": lambda place, claims: sign(place, {**claims, "nbf": int(time.time()) + 600}),
    "of tomorrow": lambda place, claims: sign(place, {**claims, "iat": int(time.time()) + 86400}),
    "without end": lambda place, claims: sign(place, {k: v for k, v in claims.items() if k != "exp"}),
    "without issuer": lambda place, claims: sign(place, {k: v for k, v in claims.items() if k != "iss"}),
    "other issuer": lambda place, claims: sign(place, {**claims, "iss": f"{ISSUER}/"}),
    "other audience": lambda place, claims: sign(place, {**claims, "aud": "anon"}),
    "several audiences": lambda place, claims: sign(place, {**claims, "aud": ["authenticated", "x"]}),
    "swapped": swapped,
    "too long": lambda place, claims: sign(place, {**claims, "x": "x" * 20000}),
    "no token": lambda place, claims: "a.b.c",
    "binary": lambda place, claims: "\u00ff.\u00ff.\u00ff",
}


@pytest.fixture(scope="module")
def ada(auth: Running) -> Person:
    return person(auth)


def test_what_is_signed_with_our_key_is_taken(place: Place, ada: Person) -> None:
    answer = ada.auth.ask("GET", "/user", headers={"authorization": f"Bearer {sign(place, ada.claims)}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("name", FORGED)
def test_what_is_forged_is_refused(place: Place, ada: Person, name: str) -> None:
    token = FORGED[name](place, ada.claims)
    header = f"Bearer {token}".encode("latin-1")
    answer = ada.auth.ask("GET", "/user", headers={"authorization": header})
    assert refused(answer) == (403, "bad_jwt")
    verifier = Verifier(
        {place.keys["signing"][0]["kid"]: key_of(place).public_key()}, issuer=ISSUER, audience="authenticated"
    )
    verifier.verify(sign(place, ada.claims))
    with pytest.raises(Invalid):
        verifier.verify(token)


@pytest.mark.parametrize("missing", ["sub", "session_id"])
def test_a_token_without_user_or_session_is_refused(place: Place, ada: Person, missing: str) -> None:
    claims = {name: value for name, value in ada.claims.items() if name != missing}
    for told in (claims, {**claims, missing: "1"}, {**claims, missing: None}, {**claims, missing: [1]}):
        answer = ada.auth.ask("GET", "/user", headers={"authorization": f"Bearer {sign(place, told)}"})
        assert refused(answer) == (403, "bad_jwt")


def test_a_token_of_a_session_that_is_somebody_else_s_is_refused(place: Place, ada: Person) -> None:
    eve = person(ada.auth, "eve")
    told = {**ada.claims, "sub": eve.id}
    answer = ada.auth.ask("GET", "/user", headers={"authorization": f"Bearer {sign(place, told)}"})
    assert refused(answer) == (403, "session_not_found")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer\tx y"])
def test_without_a_token_nobody_is_known(ada: Person, header: str) -> None:
    status, code = refused(ada.auth.ask("GET", "/user", headers={"authorization": header}))
    assert (status, code) in {(401, "no_authorization"), (403, "bad_jwt")}


def test_an_api_key_is_nobody_s_token(place: Place, ada: Person) -> None:
    for role in ("anon", "service_role"):
        headers = {"authorization": f"Bearer {place.api_key(role, sub=ada.id, session_id=ada.claims['session_id'])}"}
        assert refused(ada.auth.ask("GET", "/user", headers=headers)) == (403, "bad_jwt")


def test_after_a_rotation_both_keys_verify_and_the_new_one_signs(place: Place, auth: Running) -> None:
    old = person(auth)
    kept, new = (place.folder / "keys.json").read_text(), new_signing_key()
    try:
        (place.folder / "keys.json").write_text(json.dumps({**place.keys, "signing": [new, *place.keys["signing"]]}))
        with running(place, autoconfirm=True) as rotated:
            answer = rotated.ask("GET", "/user", headers=old.headers)
            assert good(answer)["id"] == old.id
            later = person(rotated)
            assert jwt.get_unverified_header(later.session["access_token"])["kid"] == new["kid"]
            published = rotated.ask("GET", "/.well-known/jwks.json").json()["keys"]
            assert [key["kid"] for key in published] == [new["kid"], place.keys["signing"][0]["kid"]]
            assert refused(auth.ask("GET", "/user", headers=later.headers)) == (403, "bad_jwt")
    finally:
        (place.folder / "keys.json").write_text(kept)


def test_another_service_checks_tokens_by_the_published_keys(
    auth: Running, ada: Person, serve: Callable[[Any], str]
) -> None:
    asked: list[str] = []

    def published(path: str, _: dict[str, str]) -> Any:
        asked.append(path)
        return auth.ask("GET", "/.well-known/jwks.json").json()

    url = serve(published)

    async def check() -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            remote = Remote(http, f"{url}/jwks", issuer=ISSUER, audience="authenticated")
            for _ in range(20):
                assert (await remote.verify(ada.session["access_token"]))["sub"] == ada.id
            unknown = jwt.encode(ada.claims, STRANGER, algorithm="ES256", headers={"kid": "unknown"})
            for _ in range(20):
                with pytest.raises(Invalid):
                    await remote.verify(unknown)

    asyncio.run(check())
    assert asked == ["/jwks"]


def test_another_service_learns_of_a_new_key_and_survives_our_absence(
    place: Place, ada: Person, serve: Callable[[Any], str]
) -> None:
    new = new_signing_key()
    public = [
        {name: key[name] for name in ("kty", "crv", "x", "y", "kid", "alg")} for key in (new, place.keys["signing"][0])
    ]
    answers: list[Any] = ["not JSON", {"keys": public[1:]}, {"keys": public}, "gone again"]

    def published(path: str, _: dict[str, str]) -> Any:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    url = serve(published)
    fresh = jwt.encode(
        ada.claims, jwt.PyJWK(new, algorithm="ES256").key, algorithm="ES256", headers={"kid": new["kid"]}
    )

    async def check() -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            remote = Remote(http, url, issuer=ISSUER, audience="authenticated", seconds=0, pause=0)
            with pytest.raises(Invalid):
                await remote.verify(ada.session["access_token"])
            await remote.verify(ada.session["access_token"])
            await remote.verify(fresh)
            await remote.verify(ada.session["access_token"])
            await remote.verify(fresh)

    asyncio.run(check())
