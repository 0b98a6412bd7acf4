"""The page as HTML: nothing but markup and one style sheet, so it reads the same everywhere."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from app.status import chart, units
from app.status.plan import Plan
from app.status.settings import Settings
from app.status.snapshot import Snapshot

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def _code(text: str) -> Markup:
    """Text with what stands between backticks as code."""
    pieces = re.split(r"`([^`]+)`", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if index % 2 else escape(piece) for index, piece in enumerate(pieces)
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("app.status"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "code": _code,
        "clock": units.clock,
        "duration": units.duration,
        "moment": units.moment,
        "number": units.number,
        "ratio": units.ratio,
        "size": units.size,
    }
    environment.globals |= {"WIDTH": chart.WIDTH, "HEIGHT": chart.HEIGHT}
    return environment


ENVIRONMENT = _environment()


@cache
def asset(name: str) -> bytes:
    """A file beside the templates."""
    return (files("app.status") / "templates" / name).read_bytes()


def render(settings: Settings, plan: Plan, snapshot: Snapshot) -> str:
    state, sentence = snapshot.verdict(plan)
    clients = snapshot.counters.by_part(plan, settings.part) if snapshot.counters else {}
    return ENVIRONMENT.get_template("page.html").render(
        name=settings.name,
        plan=plan,
        snapshot=snapshot,
        state=state,
        sentence=sentence,
        clients=clients,
        # Those that may, and those that tried.
        leaving=sorted({*plan.allowed, *clients}),
        style=hashlib.sha256(asset("style.css")).hexdigest()[:12],
    )
