"""How often something may be tried, by all workers together, and with Redis away."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter

import pytest
import redis
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from app.auth.limits import Limits
from tests.app.auth.service import Place, Running, address, good, person, refused, running, sign_in, sign_up


def tried(auth: Running, email: str, times: int) -> Counter[int]:
    answers = auth.ask_together(
        times, "POST", "/token?grant_type=password", json={"email": email, "password": "not the password"}
    )
    return Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize("known", [True, False])
def test_tries_are_counted_by_all_workers_together(place: Place, known: bool) -> None:
    policy = {"autoconfirm": True, "limits": {"sign_in_account": [6, 900]}}
    with running(place, **policy) as one, running(place, **policy) as other:
        email = person(one).email if known else address("nobody")
        both = tried(one, email, 7) + tried(other, email, 7)
        assert both == {400: 6, 429: 8}
        locked = sign_in(one, email)
        assert refused(locked) == (429, "over_request_rate_limit")
        assert 1 <= int(locked.headers["retry-after"]) <= 901


def test_one_address_does_not_lock_the_account_for_others(place: Place) -> None:
    with running(place, autoconfirm=True, limits={"sign_in_pair": [3, 300]}) as auth:
        ada = person(auth)
        auth.address = "198.51.100.9"
        assert tried(auth, ada.email, 5) == {400: 3, 429: 2}
        auth.address = "192.0.2.8"
        good(sign_in(auth, ada.email))


def test_a_good_sign_in_begins_anew(place: Place) -> None:
    with running(place, autoconfirm=True, limits={"sign_in_account": [4, 900], "sign_in_pair": [4, 300]}) as auth:
        ada = person(auth)
        for _ in range(3):
            assert tried(auth, ada.email, 3) == {400: 3}
            good(sign_in(auth, ada.email))


def test_who_is_locked_out_can_be_let_in(place: Place) -> None:
    with running(place, autoconfirm=True, limits={"sign_in_account": [3, 900]}) as auth:
        ada = person(auth)
        tried(auth, ada.email, 4)
        assert refused(sign_in(auth, ada.email))[0] == 429
        good(auth.admin("POST", f"/admin/users/{ada.id}/unlock"))
        good(sign_in(auth, ada.email))


def test_sign_ups_from_one_address_are_bounded(place: Place) -> None:
    with running(place, autoconfirm=True, limits={"sign_up_address": [2, 3600]}) as auth:
        auth.address = "198.51.100.77"
        answers = [sign_up(auth, address()).status_code for _ in range(4)]
        assert answers == [200, 200, 429, 429]


def test_a_forwarded_address_is_believed_of_the_proxy_alone(place: Place) -> None:
    limits = {"sign_up_address": [1, 3600]}
    with running(place, autoconfirm=True, limits=limits, proxies=["203.0.113.0/24"]) as auth:

        def signed_up(peer: str, forwarded: str) -> int:
            auth.address = peer
            told = {"email": address(), "password": "a lighthouse keeps its hours"}
            return auth.ask("POST", "/signup", json=told, headers={"x-forwarded-for": forwarded}).status_code

        assert signed_up("203.0.113.1", "198.51.100.20") == 200
        assert signed_up("203.0.113.1", "198.51.100.21") == 200
        assert signed_up("203.0.113.1", "10.0.0.1, 198.51.100.21") == 429
        assert signed_up("198.51.100.30", "198.51.100.31") == 200
        assert signed_up("198.51.100.30", "198.51.100.32") == 429


def test_no_address_and_no_account_is_in_redis_in_the_clear(place: Place) -> None:
    place.empty_redis()
    with running(place, autoconfirm=True) as auth:
        email = person(auth).email
        sign_in(auth, email, "wrong")
        with redis.Redis(host=place.redis, username="admin", password="admin", decode_responses=True) as link:
            keys = list(link.scan_iter("*"))
    assert keys
    assert all(key.startswith("auth:limit:") for key in keys)
    assert not any(email in key or "192.0.2" in key for key in keys)


@pytest.mark.parametrize("silent", [False, True])
def test_with_redis_away_people_get_in_and_tries_are_still_counted(place: Place, silent: bool) -> None:
    kept = (place.folder / "redis.json").read_text()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        if silent:
            nobody.listen()
        told = {**json.loads(kept), "host": "127.0.0.1", "port": nobody.getsockname()[1]}
        try:
            (place.folder / "redis.json").write_text(json.dumps(told))
            with running(place, autoconfirm=True, limits={"sign_in_account": [4, 900]}) as alone:
                began = time.monotonic()
                ada = person(alone)
                good(sign_in(alone, ada.email))
                good(ada.ask("GET", "/user"))
                good(ada.refresh())
                assert time.monotonic() - began < 4
                assert tried(alone, ada.email, 6) == {400: 4, 429: 2}
        finally:
            (place.folder / "redis.json").write_text(kept)


@given(
    steps=st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60),
    most=st.integers(1, 5),
    seconds=st.integers(1, 60),
)
@tries(max_examples=200, deadline=None)
def test_a_window_never_holds_more_than_it_may(steps: list[tuple[int, bool]], most: int, seconds: int) -> None:
    limits, now = Limits.__new__(Limits), 1000.0
    taken: list[float] = []
    limits._own = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now)
        for pause, add in steps:
            now += pause
            taken = [at for at in taken if at > now - seconds]
            left = limits._alone("key", most, seconds, add)
            assert (left == 0) is (len(taken) < most)
            if left:
                assert left == pytest.approx(taken[-most] + seconds - now)
            elif add:
                taken.append(now)
