"""Mails: written with the change that they tell of, sealed, and then sent, or kept here where no mail server is set."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import jinja2

from app.auth import metrics, smtp
from app.auth.database import Connection, Database, Row, Unavailable, every, run
from app.auth.errors import Refused
from app.auth.keys import Keys
from app.auth.onetime import Issued
from app.auth.settings import Policy, Smtp

PURPOSE = "outbox"
PAUSE = 2.0
"""Seconds between looks for mails to send."""
CLAIM = 60
"""Seconds that a worker has for one mail before another one tries."""
TRIES = 12

log = logging.getLogger("maia.auth")


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A mail before it is written."""

    kind: str
    to: str
    issued: Issued | None = None
    verification: str = ""
    """The type that its link names."""
    redirect: str = ""
    new: str = ""
    """The new address, where it is about one."""


@functools.cache
def _letters() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "letters")
    # Plain text: nothing is escaped.
    return jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701


def link_of(policy: Policy, letter: Letter) -> str:
    """The link of a mail, at the origin that the configuration names."""
    if letter.issued is None or not letter.verification:
        return ""
    told = {"token": letter.issued.token, "type": letter.verification, "redirect_to": letter.redirect}
    return f"{policy.issuer}/verify?{urlencode(told)}"


def written(policy: Policy, letter: Letter) -> dict[str, Any]:
    """A mail with its text, and link and code apart from it."""
    link = link_of(policy, letter)
    code = letter.issued.code if letter.issued else ""
    text = (
        _letters()
        .get_template(f"{letter.kind}.txt")
        .render(
            name=policy.name,
            site=policy.site_url,
            link=link,
            code=code,
            new=letter.new,
            minutes=policy.link_seconds // 60,
        )
    )
    subject, _, body = text.partition("\n\n")
    subject = subject.removeprefix("Subject: ")
    return {"kind": letter.kind, "to": letter.to, "subject": subject, "text": body + "\n", "link": link, "code": code}


async def put(link: Connection, policy: Policy, keys: Keys, user: UUID | None, letter: Letter) -> None:
    """Add a mail in the transaction of what it is about."""
    sealed = keys.seal(json.dumps(written(policy, letter)), PURPOSE)
    await run(
        link,
        "insert into auth.outbox (user_id, kind, sealed) values (%(user)s, %(kind)s, %(sealed)s)",
        {"user": user, "kind": letter.kind, "sealed": sealed},
    )


async def shown(link: Connection, keys: Keys) -> Iterable[dict[str, Any]]:
    """The mails that lie here, oldest first."""
    rows = await every(link, "select id, created_at, sealed from auth.outbox order by id", {})
    return [
        {"id": row["id"], "at": row["created_at"].isoformat(), **json.loads(keys.unseal(row["sealed"], PURPOSE))}
        for row in rows
    ]


class Sender:
    """Sends what lies in the outbox, as long as the worker runs; of several workers each mail is one's."""

    def __init__(self, database: Database, keys: Keys, server: Smtp) -> None:
        self._database = database
        self._keys = keys
        self._smtp = server

    async def work(self) -> None:
        """Go on until cancelled."""
        while True:
            try:
                busy = await self._send_one()
            except (Refused, *Unavailable):
                busy = False
            if not busy:
                await asyncio.sleep(PAUSE)

    async def _send_one(self) -> bool:
        found = await self._database.one(
            """
            update auth.outbox set attempts = attempts + 1, claimed_until = now() + make_interval(secs => %(claim)s)
            where id = (select id from auth.outbox where coalesce(claimed_until, now()) <= now() order by id
                        for update skip locked limit 1)
            returning id, sealed, attempts
            """,
            {"claim": CLAIM},
        )
        if found is None:
            return False
        try:
            await asyncio.to_thread(smtp.deliver, self._smtp, json.loads(self._keys.unseal(found["sealed"], PURPOSE)))
        except smtp.Failed as error:
            log.warning("a mail was not sent: %s", type(error).__name__)
            metrics.MAILS.labels("failed").inc()
            await self._postpone(found)
            return False
        metrics.MAILS.labels("sent").inc()
        async with self._database.connection() as link:
            await run(link, "delete from auth.outbox where id = %(id)s", {"id": found["id"]})
        return True

    async def _postpone(self, mail: Row) -> None:
        """Later, and later still, until it is given up."""
        async with self._database.connection() as link:
            if mail["attempts"] >= TRIES:
                await run(link, "delete from auth.outbox where id = %(id)s", {"id": mail["id"]})
                metrics.MAILS.labels("given_up").inc()
                return
            await run(
                link,
                "update auth.outbox set claimed_until = now() + make_interval(secs => %(pause)s) where id = %(id)s",
                {"id": mail["id"], "pause": min(3600, 5 * 2 ** mail["attempts"])},
            )
