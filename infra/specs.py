"""What a role may be told: its ``meta/argument_specs.yml``, against which the stack file is held."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from infra.config import nearest
from infra.errors import MaiaError

ROLES = Path(__file__).resolve().parent.parent / "roles"
SECRET = re.compile(r"secret:([a-z][a-z0-9-]*)")
"""In the place of a path, the name of a secret: the role is given a file that holds it for as long as it runs."""
TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "path": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
}


def there(role: str) -> bool:
    """Whether there is such a role."""
    return (ROLES / role / "meta" / "argument_specs.yml").is_file()


@cache
def options(role: str) -> Mapping[str, Any]:
    """The variables of a role, each as it is described."""
    said = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())
    return dict(said["argument_specs"]["main"].get("options", {}))


def variables(
    role: str, given: Mapping[str, Any], computed: Mapping[str, Any], where: str
) -> tuple[dict[str, Any], list[str]]:
    """A role's variables, of what the stack file gives and the plan computes.

    Args:
        given: by the variable's name without the role's.
        computed: by the variable's whole name.
        where: the key of ``given``, for error messages.

    Returns:
        The variables, and the names of the secrets among them.

    Raises:
        MaiaError: something given does not fit the description, or something needed is not given.
    """
    known = {name.removeprefix(f"{role}_"): option for name, option in options(role).items() if name != "maia_host"}
    found = dict(computed)
    for key, value in given.items():
        at = f"{where}.{key}"
        if key not in known:
            raise MaiaError("unknown key", where=at, mend=nearest(key, known))
        if f"{role}_{key}" in computed:
            raise MaiaError("the plan computes it", where=at, mend="leave it out")
        _hold(value, known[key], at)
        found[f"{role}_{key}"] = value
    for key, option in known.items():
        if option.get("required") and f"{role}_{key}" not in found:
            raise MaiaError("is needed", where=f"{where}.{key}", mend="give it in the stack file")
    return found, list(_secrets(found))


def _secrets(value: Any) -> Iterator[str]:
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _secrets(each)
    if isinstance(value, str) and (named := SECRET.fullmatch(value)):
        yield named[1]


def replaced(value: Any, path: Callable[[str], str]) -> Any:
    """The value with the path of its file in the place of each secret."""
    if isinstance(value, dict):
        return {key: replaced(each, path) for key, each in value.items()}
    if isinstance(value, list):
        return [replaced(each, path) for each in value]
    named = SECRET.fullmatch(value) if isinstance(value, str) else None
    return path(named[1]) if named else value


def _hold(value: Any, option: Mapping[str, Any], where: str) -> None:
    """Refuse a value that is not as it is described."""
    wanted = option.get("type", "str")
    fits = TYPES.get(wanted, (object,))
    if not isinstance(value, fits) or (isinstance(value, bool) and bool not in fits and object not in fits):
        raise MaiaError(f"expected {wanted}, found {value!r}", where=where, mend="correct it in the stack file")
    if (choices := option.get("choices")) and value not in choices:
        mend = nearest(str(value), map(str, choices))
        raise MaiaError(f"{value!r} is none of its choices", where=where, mend=mend)
    if isinstance(value, list):
        element = {"type": option.get("elements", "raw"), "options": option.get("options")}
        for number, each in enumerate(value):
            _hold(each, element, f"{where}.{number}")
    elif isinstance(value, dict) and (inner := option.get("options")):
        for key, each in value.items():
            if key not in inner:
                raise MaiaError("unknown key", where=f"{where}.{key}", mend=nearest(key, inner))
            _hold(each, inner[key], f"{where}.{key}")
        if missing := [key for key, each in inner.items() if each.get("required") and key not in value]:
            raise MaiaError("is needed", where=f"{where}.{missing[0]}", mend="give it in the stack file")
