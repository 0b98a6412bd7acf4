"""What tests of the services share."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from infra import catalog
from infra.config import parse
from infra.plan import ImageRef, Machine, Plan, build

Answer = Callable[[str, dict[str, str]], Any]


class Browser:
    """An application with its lifespan, asked over ASGI."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self._runner = asyncio.Runner()
        self._lifespan = app.router.lifespan_context(app)

    def __enter__(self) -> Browser:
        state = self._runner.run(self._lifespan.__aenter__()) or {}

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"] = dict(state)
            await self._app(scope, receive, send)

        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(with_state), base_url="http://status")
        return self

    def __exit__(self, *failure: Any) -> None:
        self._runner.run(self._http.aclose())
        self._runner.run(self._lifespan.__aexit__(*failure))
        self._runner.close()

    def get(self, path: str) -> httpx.Response:
        return self._runner.run(self._http.get(path))


@pytest.fixture
def plan() -> Plan:
    """A stack in which one part may reach a place outside."""
    images = {
        service.image: ImageRef(id="sha256:" + "5" * 64, user="700:700", packages={service.version_of: "1.2.3"})
        for service in catalog.SERVICES
        if not service.archive_only
    }
    config = parse("local", {"maia:egress": {"redis": ["mail.example.org:587"]}})
    return build("local", config, Machine(memory=24000, cpus=2), images)


@pytest.fixture
def plan_file(plan: Plan, tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    path.write_text(plan.json())
    return path


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """A server on loopback that answers JSON, or text as it is; gives its URL.

    It is called with the path and the query's parameters.
    """
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                value = answer(url.path, {key: values[0] for key, values in parse_qs(url.query).items()})
                body = (value if isinstance(value, str) else json.dumps(value)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
