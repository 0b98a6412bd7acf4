"""Settings of a service: a dataclass, filled from ``MAIA_*`` variables, typed and complete before it serves."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")

PREFIX = "MAIA_"

_PARSERS: dict[type, Callable[[str], Any]] = {str: str, int: int, float: float, Path: Path}


class SettingError(ValueError):
    """A variable that is missing or not of its type; names the variable."""


def read(kind: type[T], environ: Mapping[str, str] | None = None) -> T:
    """An instance of the dataclass ``kind``: the field ``prometheus`` comes from ``MAIA_PROMETHEUS``.

    Raises:
        SettingError: a field without a default is not set, or a value is not of the field's type.
    """
    source = os.environ if environ is None else environ
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        variable = PREFIX + field.name.upper()
        text = source.get(variable)
        if text is not None:
            try:
                values[field.name] = _PARSERS[hints[field.name]](text)
            except ValueError:
                raise SettingError(f"{variable}: {text!r} is not of type {hints[field.name].__name__}") from None
        elif field.default is dataclasses.MISSING:
            raise SettingError(f"{variable}: not set")
    return kind(**values)
