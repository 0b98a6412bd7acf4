"""The result of a comparison as a page for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATE = "report.html"


def page(document: Mapping[str, Any]) -> str:
    """Everything that the document says; names from the source are text, whatever they hold."""
    loader = FileSystemLoader(Path(__file__).parent)
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return made.get_template(TEMPLATE).render(document)
