"""The status page as a person meets it: in a browser, through the gateway, wide and narrow, light and dark."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from PIL import Image

from infra.plan import Plan
from tests.system.mutations import until

LIGHT, DARK = (0xF6, 0xF6, 0xF2), (0x11, 0x14, 0x16)
"""Paper of the style sheet, by scheme."""
UP = {LIGHT: (0x23, 0x77, 0x4F), DARK: (0x58, 0xC0, 0x8F)}
ACCENT = {LIGHT: (0x2A, 0x67, 0x87), DARK: (0x7C, 0xB7, 0xD8)}
MARGIN = 8
"""Pixels beside the content that stay paper at any width."""
DRAWN = 240.0
"""Seconds within which a stack that was just brought up has enough points for a chart that can be seen."""


@pytest.fixture
def address(operator: httpx.Client) -> Iterator[str]:
    """The page on loopback, fetched with the operator's login, which so is in no command line."""
    until(
        lambda: max(map(len, re.findall('class="line" d="([^"]*)"', operator.get("/status/").text)), default=0) > 60,
        "a chart has a line of several points",
        DRAWN,
    )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = operator.get(self.path)
            self.send_response(answer.status_code)
            for name in ("Content-Type", "Content-Security-Policy"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/status/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def photograph(address: str, tmp_path: Path) -> Callable[[int, int, bool], Image.Image]:
    """A picture of the page: width, height, whether the reader prefers dark."""
    browser = shutil.which("chromium")
    assert browser, "chromium is not installed"

    def take(width: int, height: int, dark: bool) -> Image.Image:
        picture = tmp_path / f"{width}-{'dark' if dark else 'light'}.png"
        subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
                *("--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},{height}"),
                f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                *(f"--screenshot={picture}", address),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        return Image.open(picture).convert("RGB")

    return take


def colours(picture: Image.Image) -> dict[tuple[int, ...], int]:
    return {colour: count for count, colour in picture.getcolors(maxcolors=2**24) or () if isinstance(colour, tuple)}


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(("dark", "paper"), [(False, LIGHT), (True, DARK)])
def test_the_page_is_drawn_whole_in_every_shape(
    photograph: Callable[[int, int, bool], Image.Image], width: int, dark: bool, paper: tuple[int, int, int]
) -> None:
    picture = photograph(width, 5000, dark)
    assert picture.width == width
    for edge in ((0, 0, MARGIN, picture.height), (width - MARGIN, 0, width, picture.height)):
        assert colours(picture.crop(edge)).keys() == {paper}, "something reaches over the edge"
    found = colours(picture)
    assert found[UP[paper]] > 100, "no part is shown to be up"
    assert found[ACCENT[paper]] > 100, "no chart is drawn"


def test_the_page_tells_every_part_and_the_plan_it_was_made_from(operator: httpx.Client, plan: Plan) -> None:
    page = operator.get("/status/").text
    assert plan.hash in page
    for container in plan.containers:
        assert f'<span class="part">{container.part}</span>' in page
        assert container.image_id in page
    for absent in plan.absent:
        assert absent.reason in page


def test_the_page_is_for_the_operator_alone(operator: httpx.Client) -> None:
    assert operator.get("/status/").status_code == 200
    assert operator.get("/status/", auth=httpx.BasicAuth("operator", "wrong")).status_code == 401
