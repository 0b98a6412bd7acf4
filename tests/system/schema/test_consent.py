"""What is sealed, agreed to and opened by a passcode."""

from __future__ import annotations

import json

import psycopg
import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege

from app.schema import sealed
from tests import tenants
from tests.persons import ADA, BEN, acting, token

# Sealed columns


def test_a_sealed_column_takes_ciphertext_alone(people: tenants.Catalogue) -> None:
    link, table = people.link, "session_notes"
    good = people.rows[table, ADA]["content"]
    for content in (b"She said that she " * 8, b"MAIA\x02\x01" + bytes(60), b"MAIE" + good[4:], good[:40]):
        with acting(link, "authenticated", token(ADA)), pytest.raises(CheckViolation), link.transaction():
            link.execute("update maia.session_notes set content = %s", [content])
    assert people.rows[table, ADA]["key_id"] == sealed.key_of(good)


def test_a_note_cannot_be_sealed_with_the_key_of_another_nor_changed_once_signed(people: tenants.Catalogue) -> None:
    link = people.link
    theirs = people.rows["session_notes", BEN]["content"]
    with acting(link, "authenticated", token(ADA)):
        with pytest.raises(psycopg.errors.ForeignKeyViolation), link.transaction():
            link.execute("update maia.session_notes set content = %s", [theirs])
        assert link.execute("update maia.session_notes set signed_at = now()").rowcount == 1
        assert link.execute("update maia.session_notes set minutes = 50").rowcount == 0
        assert link.execute("delete from maia.session_notes").rowcount == 0


# Consent


def test_consent_is_given_and_withdrawn_by_adding_and_never_backdated(people: tenants.Catalogue) -> None:
    link = people.link
    row = people.rows["user_consent_log", ADA]
    values = [ADA, row["purpose"], row["version"]]
    given = "insert into maia.user_consent_log (user_id, purpose, version, given) values (%s, %s, %s, false)"
    backdated = given.replace("given)", "given, created_at)").replace("false)", "true, '2020-01-01')")
    with acting(link, "authenticated", token(ADA)):
        link.execute(given, values)
        assert link.execute("select purpose, given from maia.user_consents").fetchall() == [(row["purpose"], False)]
        for statement, parameters in (
            (backdated, values),
            ("update maia.user_consent_log set given = true", None),
            ("delete from maia.user_consent_log", None),
        ):
            with pytest.raises(InsufficientPrivilege), link.transaction():
                link.execute(statement.encode(), parameters)


def test_a_passcode_opens_what_it_opens_once_and_not_after_its_end(people: tenants.Catalogue) -> None:
    link = people.link
    with link.transaction(force_rollback=True):
        tier = people.rows["subscription_tiers", tenants.NOBODY]["code"]
        for word, until in (("SOULLAB-NOW", "2100-01-01"), ("SOULLAB-PAST", "2020-01-02")):
            link.execute(
                """insert into maia.passcodes (digest, tier, uses_left, expires_at, created_at)
                values (sha256(convert_to(%s, 'UTF8')), %s, 1, %s, '2020-01-01')""",
                [word, tier, until],
            )
        link.execute("delete from maia.user_subscriptions")
        link.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(token(ADA))])
        link.execute("set local role authenticated")
        assert link.execute("select maia.redeem_passcode('soullab-now ')").fetchone() == (tier,)
        assert link.execute("select tier, source from maia.user_subscriptions").fetchall() == [(tier, "passcode")]
        assert len(link.execute("select * from maia.my_features").fetchall()) == 1
        for word in ("SOULLAB-NOW", "SOULLAB-PAST", "SOULLAB-GUESSED"):
            with pytest.raises(psycopg.errors.InvalidParameterValue), link.transaction():
                link.execute("select maia.redeem_passcode(%s)", [word])
