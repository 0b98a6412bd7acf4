"""Refresh tokens: one child each, and a stolen one is the end of the session."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.system.auth import forging
from tests.system.auth.service import Person, Service, Session, why

GONE = (400, "refresh_token_not_found")
REUSED = (400, "refresh_token_already_used")


@pytest.fixture
def person(service: Service) -> Person:
    return service.person()


def session_id(access: str) -> str:
    return str(forging.read(access)[1]["session_id"])


def age(service: Service, session: str, table: str = "auth.refresh_tokens", by: str = "1 hour") -> None:
    """Let so much time have passed since whatever was done in the session."""
    columns = {
        "auth.refresh_tokens": ("session_id", "created_at", "updated_at"),
        "auth.sessions": ("id", "created_at", "updated_at", "refreshed_at"),
    }
    key, *times = columns[table]
    moved = ", ".join(f"{column} = {column} - interval '{by}'" for column in times)
    with service.database() as link:
        assert link.execute(f"update {table} set {moved} where {key} = %s".encode(), [session]).rowcount


def unused(service: Service, session: str) -> int:
    """How many tokens of the session may still be exchanged."""
    with service.database() as link:
        found = link.execute(
            "select count(*) from auth.refresh_tokens where session_id = %s and not revoked", [session]
        ).fetchone()
    assert found
    return int(found[0])


def ended(service: Service, session: Session) -> bool:
    return why(service.user(session.access)) == (403, "session_not_found")


def test_many_at_once_get_one_child(service: Service, person: Person) -> None:
    first = service.session(person)
    for _ in range(5):

        def ask(_: int, token: str = first.refresh) -> Session:
            return Session.of(service.refresh(token))

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, range(32)))
        assert len({answer.refresh for answer in answers}) == 1
        assert answers[0].refresh != first.refresh
        assert unused(service, session_id(first.access)) == 1
        first = answers[0]


def test_a_token_that_was_exchanged_long_ago_ends_the_session(service: Service, person: Person) -> None:
    stolen, bystander = service.session(person), service.session(person)
    child = Session.of(service.refresh(stolen.refresh))
    age(service, session_id(stolen.access))
    assert why(service.refresh(stolen.refresh)) == REUSED
    assert why(service.refresh(child.refresh)) == GONE
    assert why(service.refresh(stolen.refresh)) == GONE
    assert ended(service, stolen)
    assert ended(service, child)
    assert service.user(bystander.access).status_code == 200
    assert service.refresh(bystander.refresh).status_code == 200


def test_an_ancestor_ends_the_session_too(service: Service, person: Person) -> None:
    first = service.session(person)
    last = first
    for _ in range(3):
        last = Session.of(service.refresh(last.refresh))
        age(service, session_id(first.access))
    assert why(service.refresh(first.refresh)) == REUSED
    assert why(service.refresh(last.refresh)) == GONE


def test_the_owner_and_the_thief_at_once(service: Service, person: Person) -> None:
    """However they meet, the session does not go on in two hands."""
    first = service.session(person)
    child = Session.of(service.refresh(first.refresh))
    age(service, session_id(first.access))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(service.refresh, [first.refresh, child.refresh] * 8))
    assert REUSED in [why(answer) for answer in answers if answer.status_code != 200]
    for answer in answers:
        if answer.status_code == 200:
            assert why(service.refresh(answer.json()["refresh_token"])) == GONE
    assert ended(service, child)


@pytest.mark.parametrize(("table", "by"), [("auth.sessions", "15 days"), ("auth.sessions", "91 days")])
def test_a_session_that_is_too_old(table: str, by: str, service: Service, person: Person) -> None:
    session = service.session(person)
    age(service, session_id(session.access), table, by)
    assert service.user(session.access).status_code == 403
    assert why(service.refresh(session.refresh)) == (400, "session_expired")
    assert why(service.refresh(session.refresh))[0] == 400


def test_use_does_not_prolong_it_for_ever(service: Service, person: Person) -> None:
    session = service.session(person)
    for _ in range(7):
        age(service, session_id(session.access), "auth.sessions", "13 days")
        answer = service.refresh(session.refresh)
        if answer.status_code != 200:
            break
        session = Session.of(answer)
    assert why(answer) == (400, "session_expired")


def test_another_password_signs_the_other_devices_out(service: Service, person: Person) -> None:
    mine, other = service.session(person), service.session(person)
    changed = service.send("PUT", "/user", token=mine.access, json={"password": "the tide table hangs in the hall"})
    assert changed.status_code == 200
    assert service.user(mine.access).status_code == 200
    assert ended(service, other)
    assert why(service.refresh(other.refresh)) == GONE


def test_what_is_kept_lets_nobody_in(service: Service, person: Person) -> None:
    """Who reads the database can neither sign in nor go on with somebody's session."""
    session = service.session(person)
    child = Session.of(service.refresh(session.refresh))
    assert service.kept(session.refresh, child.refresh, child.access, person.password) == []


@pytest.mark.parametrize(
    "token", ["", "x", "x" * 12, "x" * 255, "x" * 256, "x" * 5000, "é" * 12, "' or 1=1 --"], ids=range(8)
)
def test_a_token_that_is_none(token: str, service: Service) -> None:
    assert why(service.refresh(token)) in (GONE, (400, "validation_failed"))


def test_an_access_token_is_no_refresh_token(service: Service, person: Person) -> None:
    session = service.session(person)
    assert service.refresh(session.access).status_code == 400
    assert service.user(session.refresh).status_code in (401, 403)


@dataclass
class Family:
    """A session, with its tokens from the first to the newest."""

    session: str
    access: str
    tokens: list[str]
    lately: set[str] = field(default_factory=set)
    """Those that were exchanged within the tolerated interval."""
    alive: bool = True


class Families(RuleBasedStateMachine):
    """Devices of one person and a thief: whatever they do, each session has one good token or none."""

    service: Service
    person: Person

    def __init__(self) -> None:
        super().__init__()
        self.families: list[Family] = []

    def _pick(self, number: int, alive: bool = True) -> Family:
        found = [family for family in self.families if family.alive == alive]
        return found[number % len(found)]

    @rule()
    def sign_in(self) -> None:
        made = self.service.session(self.person)
        self.families.append(Family(session_id(made.access), made.access, [made.refresh]))

    @precondition(lambda self: any(family.alive for family in self.families))
    @rule(number=st.integers(0, 9))
    def refresh(self, number: int) -> None:
        family = self._pick(number)
        made = Session.of(self.service.refresh(family.tokens[-1]))
        assert made.refresh not in family.tokens
        assert session_id(made.access) == family.session
        family.lately.add(family.tokens[-1])
        family.tokens.append(made.refresh)
        family.access = made.access

    @precondition(lambda self: any(family.lately and family.alive for family in self.families))
    @rule(number=st.integers(0, 9), which=st.integers(0, 9))
    def refresh_again_at_once(self, number: int, which: int) -> None:
        found = [family for family in self.families if family.alive and family.lately]
        family = found[number % len(found)]
        token = sorted(family.lately)[which % len(family.lately)]
        assert Session.of(self.service.refresh(token)).refresh == family.tokens[-1]

    @precondition(lambda self: any(family.alive for family in self.families))
    @rule(number=st.integers(0, 9))
    def wait(self, number: int) -> None:
        family = self._pick(number)
        age(self.service, family.session)
        family.lately.clear()

    @precondition(lambda self: any(f.alive and set(f.tokens[:-1]) - f.lately for f in self.families))
    @rule(number=st.integers(0, 9), which=st.integers(0, 9))
    def steal(self, number: int, which: int) -> None:
        found = [family for family in self.families if family.alive and set(family.tokens[:-1]) - family.lately]
        family = found[number % len(found)]
        old = [token for token in family.tokens[:-1] if token not in family.lately]
        assert why(self.service.refresh(old[which % len(old)])) == REUSED
        family.alive = False

    @precondition(lambda self: any(family.alive for family in self.families))
    @rule(number=st.integers(0, 9), scope=st.sampled_from(["local", "others", "global"]))
    def sign_out(self, number: int, scope: str) -> None:
        family = self._pick(number)
        assert self.service.send("POST", f"/logout?scope={scope}", token=family.access).status_code == 204
        for one in self.families:
            if scope == "global" or (one is family) == (scope == "local"):
                one.alive = False

    @precondition(lambda self: any(not family.alive for family in self.families))
    @rule(number=st.integers(0, 9), which=st.integers(0, 9))
    def come_back(self, number: int, which: int) -> None:
        family = self._pick(number, alive=False)
        assert why(self.service.refresh(family.tokens[which % len(family.tokens)])) == GONE
        assert why(self.service.user(family.access)) == (403, "session_not_found")

    @rule()
    def redis_is_emptied(self) -> None:
        self.service.forget()

    @invariant()
    def each_living_session_has_one_good_token(self) -> None:
        for family in self.families:
            assert unused(self.service, family.session) == family.alive
            assert self.service.user(family.access).status_code == (200 if family.alive else 403)


def test_families_whatever_happens(service: Service, person: Person) -> None:
    machine = type("Run", (Families,), {"service": service, "person": person})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=20,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
