"""Where links may lead."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from app.auth.redirects import chosen, with_fragment, with_query
from app.auth.settings import Policy

SITE = "https://maia.example.org"
POLICY = Policy(
    issuer=f"{SITE}/auth/v1",
    site_url=SITE,
    redirects=(
        "https://app.example.org/in/*",
        "https://other.example.org*",
        "maia://callback",
        "http://127.0.0.1:3000/x",
    ),
)
HOSTS = {"maia.example.org", "app.example.org", "other.example.org", "callback", "127.0.0.1:3000"}
PIECES = st.sampled_from(
    ["https://", "http://", "//", "\\", "@", ":443", ".", "/", "..", "%2e%2e", "?", "#", "*", "\r\n", " ",
     "evil.example", "maia.example.org", "app.example.org", "other.example.org", "/in/", "maia://callback",
     "javascript:", "\u3002"]
)  # fmt: skip


@pytest.mark.parametrize(
    "asked",
    [
        SITE,
        f"{SITE}/deep/er?x=1#y",
        "https://app.example.org/in/",
        "https://app.example.org/in/side?x=1",
        "https://other.example.org/any",
        "maia://callback",
        "http://127.0.0.1:3000/x",
    ],
)
def test_what_is_allowed_is_taken(asked: str) -> None:
    assert chosen(POLICY, asked) == asked


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "https://app.example.org/out",
        "https://app.example.org/in",
        "https://app.example.org/in/../out",
        "https://app.example.org/in/%2e%2e/out",
        "http://app.example.org/in/",
        "https://app.example.org:8443/in/",
        "https://other.example.org.evil.example/",
        "https://maia.example.org.evil.example/",
        "http://maia.example.org/",
        "maia://callback/x",
        "maia://callbackx",
        "http://127.0.0.1:3000/xy",
    ],
)
def test_what_is_not_leads_to_the_site(asked: str) -> None:
    assert chosen(POLICY, asked) == SITE


@given(st.lists(PIECES, max_size=8).map("".join))
@tries(max_examples=500, deadline=None)
def test_no_spelling_leads_elsewhere(asked: str) -> None:
    url = urlsplit(chosen(POLICY, asked))
    assert url.netloc in HOSTS
    assert url.scheme in ("https", "http", "maia")


def test_what_a_page_is_told_replaces_what_was_there() -> None:
    assert with_query(f"{SITE}/a?code=old&x=1", code="new") == f"{SITE}/a?x=1&code=new"
    assert with_fragment(f"{SITE}/a?x=1#old", access_token="a b") == f"{SITE}/a?x=1#access_token=a+b"
