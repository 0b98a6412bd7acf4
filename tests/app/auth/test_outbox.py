"""Mail that is sent: by SMTP, through the proxy, later where the server is away; and what is tidied up."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message

import pytest

from app.auth.tidy import tidy
from tests.app.auth.service import SITE, Place, Running, address, confirmed, good, person, running, sign_in
from tests.system.mutations import until


@dataclass
class Post:
    """A mail server on loopback that takes whatever comes, and a proxy that leads to it alone."""

    port: int = 0
    mails: list[tuple[str, Message]] = field(default_factory=list)
    ways: list[str] = field(default_factory=list)
    away: bool = False


@contextmanager
def served(post: Post, proxied: bool = False) -> Iterator[int]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            if proxied:
                way = self.rfile.readline().decode().split()
                while self.rfile.readline().strip():
                    pass
                post.ways.append(way[1])
                if post.away:
                    self.wfile.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                    return
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self.say("220 ready")
            to = ""
            for raw in self.rfile:
                verb = raw.decode().strip()
                if verb.upper().startswith("RCPT TO:"):
                    to = verb[8:].strip("<>")
                if verb.upper() == "DATA":
                    self.say("354 go on")
                    lines = []
                    while (line := self.rfile.readline()) != b".\r\n":
                        lines.append(line)
                    post.mails.append((to, message_from_bytes(b"".join(lines))))
                self.say("221 bye" if verb.upper() == "QUIT" else "250 good")

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def smtp(port: int, host: str = "127.0.0.1") -> dict[str, object]:
    return {"host": host, "port": port, "sender": "maia@example.org", "tls": "none"}


def test_a_mail_is_sent_once_and_then_gone(place: Place) -> None:
    post = Post()
    with served(post) as port, running(place, smtp=smtp(port)) as one, running(place, smtp=smtp(port)):
        email = address()
        good(one.ask("POST", "/otp", json={"email": email}))
        until(lambda: any(to == email for to, _ in post.mails), "the mail came", patience=30)
        until(lambda: not one.mails(email), "it is gone from the outbox", patience=30)
    mine = [mail for to, mail in post.mails if to == email]
    assert len(mine) == 1
    assert mine[0]["From"] == "maia@example.org"
    assert f"{SITE}/auth/v1/verify?token=" in mine[0].get_payload()


def test_where_a_proxy_is_the_way_out_mail_takes_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post()
    with served(post, proxied=True) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with running(place, smtp=smtp(2525, "mail.example.org")) as auth:
            email = address()
            good(auth.ask("POST", "/otp", json={"email": email}))
            until(lambda: any(to == email for to, _ in post.mails), "the mail came", patience=30)
    assert set(post.ways) == {"mail.example.org:2525"}


def test_a_mail_that_is_not_taken_waits(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post(away=True)
    with served(post, proxied=True) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with running(place, smtp=smtp(2525, "mail.example.org")) as auth:
            email = address()
            good(auth.ask("POST", "/otp", json={"email": email}))
            until(lambda: bool(post.ways), "it was tried", patience=30)
            waiting = "select from auth.outbox where attempts = 1 and claimed_until > now()"
            until(lambda: bool(place.rows(waiting)), "it waits", patience=30)
            assert auth.mails(email)
            post.away = False
            place.run("update auth.outbox set claimed_until = now()")
            until(lambda: any(to == email for to, _ in post.mails), "the mail came", patience=30)


def test_what_is_over_is_taken_away_and_nothing_else(place: Place, mailing: Running) -> None:
    ada, gone = confirmed(mailing), confirmed(mailing)
    good(mailing.ask("POST", "/otp", json={"email": ada.email}))
    place.run("update auth.sessions set refreshed_at = now() - interval '15 days' where user_id = %(u)s", u=gone.id)
    place.run(
        "insert into auth.one_time_tokens (user_id, token_type, token_hash, relates_to, expires_at)"
        " values (%(u)s, 'reauthentication_token', 'x', 'x', now() - interval '2 days')",
        u=gone.id,
    )

    async def once() -> bool:
        service = mailing.state["service"]
        async with service.database.connection() as link:
            return await tidy(link, service.policy)

    assert mailing.call(once)
    assert place.rows("select from auth.sessions where user_id = %(u)s", u=gone.id) == []
    assert place.rows("select from auth.one_time_tokens where user_id = %(u)s", u=gone.id) == []
    good(ada.ask("GET", "/user"))
    good(ada.refresh())
    assert len(place.rows("select from auth.one_time_tokens where user_id = %(u)s", u=ada.id)) == 1
    good(sign_in(mailing, gone.email))


def test_one_worker_tidies_at_a_time(place: Place, auth: Running) -> None:
    person(auth)

    async def while_another_does() -> bool:
        service = auth.state["service"]
        async with service.database.transaction() as other:
            await tidy(other, service.policy)
            async with service.database.connection() as link:
                return bool(await tidy(link, service.policy))

    assert not auth.call(while_another_does)
