"""The service as its container runs it: two workers of granian, killed and begun anew."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from infra.site import REPO
from tests.app.auth.service import PASSWORD, Place, address, environment
from tests.system.mutations import until


@dataclass
class Process:
    """A running one."""

    popen: subprocess.Popen[bytes]
    http: httpx.Client

    def answers(self) -> bool:
        try:
            return self.http.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def sign_up(self, email: str) -> bool:
        """Whether it was acknowledged."""
        try:
            return self.http.post("/signup", json={"email": email, "password": PASSWORD}).status_code == 200
        except httpx.TransportError:
            return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(place: Place, port: int, measures: Path) -> Iterator[Process]:
    arguments = ["--interface", "asgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "2", "--no-access-log"]
    arguments += ["--workers-kill-timeout", "5"]  # a worker that is still beginning does not hear that it shall end
    begun = subprocess.Popen(
        [sys.executable, "-m", "granian", *arguments, "app.auth.main:app"],
        cwd=REPO,
        env={**os.environ, **environment(place, autoconfirm=True), "PROMETHEUS_MULTIPROC_DIR": str(measures)},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    headers = {"apikey": place.api_key("anon")}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=10) as http:
        found = Process(begun, http)
        try:
            until(found.answers, "it answers", patience=60)
            yield found
        finally:
            kill(begun)


def kill(begun: subprocess.Popen[bytes]) -> None:
    """All of its processes, without a word."""
    if begun.poll() is None:
        os.killpg(begun.pid, signal.SIGKILL)
        begun.wait(20)


@pytest.fixture
def measures(tmp_path: Path) -> Path:
    made = tmp_path / "metrics"
    made.mkdir()
    return made


def test_what_was_acknowledged_is_there_after_a_kill(place: Place, measures: Path) -> None:
    port, acknowledged = free_port(), []
    with process(place, port, measures) as begun, ThreadPoolExecutor(4) as people:
        emails = [address("kept") for _ in range(2000)]
        tries = {email: people.submit(begun.sign_up, email) for email in emails}
        until(lambda: sum(each.done() for each in tries.values()) >= 20, "some are signed up", patience=30)
        kill(begun.popen)
        acknowledged = [email for email, each in tries.items() if each.result()]
    assert 20 <= len(acknowledged) < 2000
    kept = place.rows("select email from auth.users where email = any (%(e)s)", e=emails)
    assert set(acknowledged) <= {row["email"] for row in kept}
    assert place.rows("select from auth.broken_audit()") == []
    with process(place, port, measures) as again:
        told = {"email": acknowledged[0], "password": PASSWORD}
        assert again.http.post("/token?grant_type=password", json=told).status_code == 200


def test_both_workers_measurements_are_told_as_one(place: Place, measures: Path) -> None:
    with process(place, free_port(), measures) as begun:
        for _ in range(40):
            with httpx.Client(base_url=begun.http.base_url, headers=begun.http.headers, trust_env=False) as fresh:
                assert fresh.get("/settings").status_code == 200
        text = begun.http.get("/metrics").text
        found = re.search(r'maia_auth_request_seconds_count\{endpoint="/settings",status="2xx"\} (\d+)', text)
        assert found is not None
        assert float(found[1]) == 40


def test_over_the_wire_a_session_lives_and_ends(place: Place, measures: Path) -> None:
    with process(place, free_port(), measures) as begun:
        made = begun.http.post("/signup", json={"email": address(), "password": PASSWORD}).json()
        mine = {"authorization": f"Bearer {made['access_token']}"}
        read = begun.http.get("/user", headers=mine)
        assert read.json()["id"] == made["user"]["id"]
        assert begun.http.head("/user", headers=mine).status_code in (200, 405)
        assert begun.http.post("/logout", headers=mine).status_code == 204
        assert begun.http.get("/user", headers=mine).json()["error_code"] == "session_not_found"
        long = begun.http.post("/token?grant_type=password", content=b" " * (1 << 20) + b"{}", headers=mine)
        assert long.status_code == 413


def test_it_ends_by_itself_when_it_is_asked_to(place: Place, measures: Path) -> None:
    with process(place, free_port(), measures) as begun:
        began = time.monotonic()
        begun.popen.terminate()
        assert begun.popen.wait(20) == 0
        assert time.monotonic() - began < 15
