"""Credentials: strong when generated, refused when weak, and tied to the login they belong to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from infra import credentials
from infra.errors import MaiaError
from infra.plan import Plan

SECRET = "x7Jq-3LmPz_9WnRt5KvB2cYdHs8Fg4Ue"


def test_generated_secrets_differ_and_pass_their_own_judgement() -> None:
    made = {credentials.generate() for _ in range(200)}
    assert len(made) == 200
    for secret in made:
        credentials.refuse_weak("any", secret)


@pytest.mark.parametrize("weak", ["minioadmin", "postgres", "changeme", "short", "a" * 40, "abababababababababababab"])
def test_demo_values_and_low_entropy_are_refused_without_being_shown(weak: str) -> None:
    with pytest.raises(MaiaError) as refused:
        credentials.refuse_weak("operator", weak)
    assert "secrets:operator" in str(refused.value)
    assert weak not in str(refused.value)


def test_a_new_secret_means_a_new_login_beside_the_old() -> None:
    assert credentials.tagged("web", "one", "_") != credentials.tagged("web", "two", "_")
    assert credentials.tagged("web", "one", "_") == credentials.tagged("web", "one", "_")


def test_a_part_connects_with_verified_tls_and_its_own_login(planned: Callable[..., Plan]) -> None:
    plan = planned()
    found = credentials.of_part(plan, "postgres-exporter", {"postgres-exporter-postgres": SECRET})("postgres")
    assert found.user.startswith("postgres_exporter_")
    assert "sslmode=verify-full" in found.url
    assert found.password == SECRET


def test_a_part_cannot_ask_for_what_is_not_its_own(planned: Callable[..., Plan]) -> None:
    with pytest.raises(KeyError):
        credentials.of_part(planned(), "prometheus", {"postgres-exporter-postgres": SECRET})("postgres")
