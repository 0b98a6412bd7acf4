"""What unit tests share: plans made of a fixed machine and fixed images, so nothing depends on where they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from infra import catalog
from infra.config import parse
from infra.plan import ImageRef, Machine, Plan, build

MACHINE = Machine(memory=24000, cpus=2)


def images(*more: str) -> dict[str, ImageRef]:
    """A reference per recipe of the catalog, with ids that say whose they are."""
    names = [service.image for service in catalog.SERVICES if not service.archive_only]
    return {
        name: ImageRef(id="sha256:" + name.encode().hex().ljust(64, "0")[:64], user="700:700", packages={})
        for name in (*names, *more)
    }


@pytest.fixture
def made() -> Callable[..., dict[str, ImageRef]]:
    """References of the images that are made here."""
    return images


@pytest.fixture
def planned() -> Callable[..., Plan]:
    """A plan of the stack file's ``maia:`` keys, given without the prefix."""

    def make(values: Mapping[str, Any] | None = None, *, machine: Machine = MACHINE, stack: str = "local") -> Plan:
        config = parse(stack, {f"maia:{key}": value for key, value in (values or {}).items()})
        return build(stack, config, machine, images(*(f"app:{name}" for name in config.apps)))

    return make


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what the tests compare with")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the one kept in ``golden/``."""

    def compare(name: str, text: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if request.config.getoption("--update-golden"):
            path.write_text(text)
        assert text == path.read_text()

    return compare
