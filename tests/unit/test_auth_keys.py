"""Keys of the auth service, and addresses of mail as it takes them."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from app.auth.bodies import mail
from app.auth.errors import Refused
from app.auth.keys import Keys, Unsealed, digest, new_token, read
from app.common.settings import SettingError
from tests.app.auth.service import new_signing_key


def document(**other: Any) -> dict[str, Any]:
    api = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    made = {
        "signing": [new_signing_key()],
        "api": {"kty": "oct", "alg": "HS256", "kid": "api", "k": api},
        "sealing": base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    return {**made, **other}


KEYS = Keys(document())


def test_what_is_published_is_the_public_half() -> None:
    told = document()
    published = Keys(told).jwks["keys"]
    assert [key["kid"] for key in published] == [told["signing"][0]["kid"]]
    assert told["signing"][0]["d"] not in json.dumps(published)
    assert set(published[0]) == {"kty", "crv", "x", "y", "kid", "alg", "use", "key_ops"}


@pytest.mark.parametrize(
    "other",
    [
        {"signing": []},
        {"signing": [{**new_signing_key(), "alg": "HS256"}]},
        {"signing": [{"kty": "oct", "k": "AAAA", "alg": "ES256", "kid": "x"}]},
        {"signing": [{name: value for name, value in new_signing_key().items() if name != "d"}]},
        {"api": {"kty": "oct", "alg": "HS256", "k": "c2hvcnQ"}},
        {"api": {"kty": "oct", "alg": "HS512", "k": "A" * 43}},
        {"sealing": base64.b64encode(b"short").decode()},
        {"sealing": "no base64 at all"},
        {"sealing": None},
    ],
)
def test_what_is_not_such_a_document_is_refused_without_quoting_it(tmp_path: Path, other: dict[str, Any]) -> None:
    told = document(**other)
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(told))
    with pytest.raises(SettingError) as refused:
        read(path)
    assert str(path) in str(refused.value)
    for hidden in (told["sealing"], *(key.get("d") for key in told["signing"])):
        assert hidden is None or hidden not in str(refused.value)


def test_keys_are_not_printed() -> None:
    told = document()
    made = Keys(told)
    assert "d" in told["signing"][0]
    for hidden in (told["signing"][0]["d"], told["sealing"], told["api"]["k"]):
        assert hidden not in f"{made!r} {made} {made.signing!r}"


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200), at=st.integers(0), bit=st.integers(0, 7))
@tries(max_examples=100, deadline=None)
def test_what_is_sealed_is_opened_for_its_purpose_and_unaltered_alone(text: str, at: int, bit: int) -> None:
    sealed = KEYS.seal(text, "outbox")
    assert KEYS.unseal(sealed, "outbox") == text
    assert KEYS.seal(text, "outbox") != sealed
    altered = bytearray(sealed)
    altered[at % len(sealed)] ^= 1 << bit
    for wrong, purpose in ((bytes(altered), "outbox"), (sealed, "totp"), (sealed[:-1], "outbox"), (b"", "outbox")):
        with pytest.raises(Unsealed):
            KEYS.unseal(wrong, purpose)
    with pytest.raises(Unsealed):
        Keys(document()).unseal(sealed, "outbox")


def test_the_child_of_a_token_is_one_and_takes_the_key_to_find() -> None:
    kept = digest(new_token())
    assert KEYS.child(kept) == KEYS.child(kept)
    assert len({KEYS.child(kept), KEYS.child(digest(KEYS.child(kept))), Keys(document()).child(kept)}) == 3
    assert len(base64.urlsafe_b64decode(KEYS.child(kept))) == 24


def test_codes_of_different_purposes_have_nothing_in_common() -> None:
    digests = {
        KEYS.code_digest(*parts) for parts in (("a", "b", "1"), ("ab", "", "1"), ("a", "b1", ""), ("b", "a", "1"))
    }
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("typed", "taken"),
    [
        ("Ada@Example.ORG", "ada@example.org"),
        ("  ada+tag@example.org ", "ada+tag@example.org"),
        ("o'hara@sub.example.co", "o'hara@sub.example.co"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@straße.example", "ada@xn--strae-oqa.example"),
    ],
)
def test_addresses_are_taken_in_one_form(typed: str, taken: str) -> None:
    assert mail(typed) == taken


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ada",
        "@example.org",
        "ada@",
        "ada@example",
        "ada@@example.org",
        "a b@example.org",
        ".ada@example.org",
        "ada..b@example.org",
        "ada@exa_mple.org",
        "ada@-example.org",
        "ada@example.org\nBcc: eve@example.org",
        "ada\u212a@example.org",
        "ада@example.org",
        '"ada eve"@example.org',
        "ada@[127.0.0.1]",
        f"{'a' * 65}@example.org",
        f"ada@{'b.' * 130}org",
        "<ada@example.org>",
    ],
)
def test_what_is_no_address_is_refused(typed: str) -> None:
    with pytest.raises(Refused) as refused:
        mail(typed)
    assert (refused.value.status, refused.value.code) == (400, "validation_failed")


@given(st.text(max_size=60))
@tries(max_examples=300, deadline=None)
def test_whatever_is_typed_is_refused_or_becomes_plain(typed: str) -> None:
    try:
        taken = mail(typed)
    except Refused:
        return
    assert taken.isascii() and taken == taken.lower() and taken.count("@") == 1
    assert mail(taken) == taken
