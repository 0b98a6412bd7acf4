"""Which passwords may be set, and how hashes are made of them."""

from __future__ import annotations

import asyncio
import threading

import bcrypt
import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from app.auth.errors import Refused
from app.auth.passwords import LONGEST, QUEUE, Hasher, fits, normal
from app.auth.policy import blocklist, guessed_first, refuse_weak

CONTEXT = ("MAIA", "ada.lovelace@example.org")


def reasons(password: str, least: int = 15) -> list[str]:
    with pytest.raises(Refused) as found:
        refuse_weak(password, least, CONTEXT)
    assert found.value.code in ("weak_password", "validation_failed")
    told: list[str] = found.value.more.get("weak_password", {}).get("reasons", [])
    return told


@pytest.mark.parametrize(
    "password",
    [
        "password12345678",
        "Passwort-2026-!!",
        "P4ssw0rd2024!!!!",
        "passwordpassword",
        "PasswordPassword1",
        "iloveyouiloveyou",
        "WelcomeSunshine99",
        "123456789012345",
        "0987654321098765",
        "qwertyuiopasdfgh",
        "abcdefghijklmnop",
        "aaaaaaaaaaaaaaaaaaaa",
        "ababababababababab",
        "1q2w3e4r5t6y7u8i",
        "maiamaiamaiamaia",
        "Lovelace20262026",
        "ada.lovelace@example.org",
        "adalovelaceexample",
        "changeme changeme",
        "\uff50\uff41\uff53\uff53word12345678",
    ],
)
def test_what_is_guessed_first_is_refused(password: str) -> None:
    assert reasons(password) == ["pwned"]


@pytest.mark.parametrize(
    "password",
    [
        "a lighthouse keeps its hours",
        "correct lemon battery ashore",
        "tWx9-qLm2-vRt7-bNz4",
        "über sieben brücken gehen",
        "семь раз отмерь один раз",
        "my password is not password",
    ],
)
def test_what_is_not_is_taken(password: str) -> None:
    refuse_weak(password, 15, CONTEXT)


def test_no_kinds_of_letters_are_asked_for() -> None:
    refuse_weak("onlysmalllettershere", 15, CONTEXT)


@pytest.mark.parametrize(("least", "password"), [(15, "lantern-harbour"[:14]), (8, "lantern")])
def test_what_is_too_short_is_refused(least: int, password: str) -> None:
    assert reasons(password, least) == ["length"]
    refuse_weak(password + "x", least, CONTEXT)


@pytest.mark.parametrize("password", ["x" * 73 + "yz", "ä" * 37, "lantern harbour\x00", "lantern harbour\ud800"])
def test_what_bcrypt_would_cut_or_nobody_can_type_is_refused(password: str) -> None:
    assert reasons(password) == []


def test_the_blocklist_is_in_small_letters() -> None:
    assert len(blocklist()) > 300
    assert all(word == word.strip().casefold() and len(word) >= 3 for word in blocklist())


@given(st.text(max_size=120))
@tries(max_examples=200, deadline=None)
def test_whatever_is_typed_is_judged(password: str) -> None:
    guessed_first(password, CONTEXT)
    assert fits(password) is (len(normal(password).encode("utf-8", "surrogatepass")) <= LONGEST)


def test_hashing_leaves_the_event_loop_free_and_bounds_its_queue() -> None:
    async def measure() -> None:
        hasher = Hasher(4, threads=1)
        began, go = threading.Event(), threading.Event()

        def hold() -> None:
            began.set()
            go.wait(20)

        hasher._pool.submit(hold)
        assert began.wait(20)
        waiting = [asyncio.create_task(hasher.make("a lighthouse keeps its hours")) for _ in range(QUEUE)]
        await asyncio.sleep(0)
        with pytest.raises(Refused) as found:
            await hasher.make("one more")
        assert (found.value.status, found.value.after) == (503, 1)
        go.set()
        assert len(set(await asyncio.gather(*waiting))) == QUEUE
        assert await hasher.check("a lighthouse keeps its hours", waiting[0].result())
        hasher.close()

    asyncio.run(measure())


def test_nobody_has_a_password() -> None:
    async def measure() -> None:
        hasher = Hasher(4)
        assert not await hasher.check("", None)
        assert not await hasher.check("x" * 80, bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode())
        assert not await hasher.check("whatever", "no hash at all")
        assert hasher.weaker("$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaA")
        assert not hasher.weaker(bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode())
        hasher.close()

    asyncio.run(measure())
