"""An embedder on this machine, spoken to as Ollama speaks: ``POST /api/embed``."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests

from app.schema.reembed import Embed
from infra.errors import MaiaError

OPTION = "--embedder"
PATIENCE = 300.0
"""Seconds that a batch may take: the first one has the model loaded."""


def at(url: str, model: str) -> Embed:
    """The embedder there, for one model.

    Raises:
        MaiaError: it is not on this machine; what people wrote goes nowhere else.
    """
    host = urlsplit(url).hostname or ""
    if host != "localhost" and not _loopback(host):
        raise MaiaError(f"{url} is not on this machine", where=OPTION, mend="name one by localhost or 127.0.0.1")
    session = requests.Session()
    session.trust_env = False

    def embed(texts: Sequence[str]) -> Sequence[Sequence[float]]:
        return _ask(session, f"{url.rstrip('/')}/api/embed", model, texts)

    return embed


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _ask(session: requests.Session, url: str, model: str, texts: Sequence[str]) -> list[list[float]]:
    asked = {"model": model, "input": list(texts), "truncate": True}
    try:
        answer = session.post(url, json=asked, timeout=PATIENCE, allow_redirects=False)
        said: Any = answer.json()
        vectors: list[list[float]] = said["embeddings"]
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        told = " ".join(str(error).split())[:200]
        raise MaiaError(f"gives no vectors: {told}", where=url, mend="start it, with the model") from None
    of = str(said.get("model", model)).removesuffix(":latest")
    if of != model:
        raise MaiaError(f"answers with vectors of {of!r}, not of {model!r}", where=url, mend="have it serve that model")
    return vectors
