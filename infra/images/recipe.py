"""What an image is made of: one YAML file per image beside this module."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from infra.errors import MaiaError
from infra.site import REPO

FOLDER = Path(__file__).resolve().parent
BASE = "base"


AbsolutePath = Annotated[str, Field(pattern=r"^/[^\s*]*[^/\s*]$")]
Glob = Annotated[str, Field(pattern=r"^/\S+$")]
# Text, because YAML reads a bare 0750 as a decimal number or an octal one by its version.
Mode = Annotated[str, Field(pattern=r"^[01]?[0-7]{3}$")]
Package = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]+$")]
Words = tuple[str, ...]


class Strict(BaseModel):
    """Refuses what it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class User(Strict):
    """Who the container runs as; ids are fixed and belong to one user alone, so volumes keep their owner."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
    uid: Annotated[int, Field(ge=700, le=799)]
    gid: Annotated[int, Field(ge=700, le=799)]


class Directory(Strict):
    """A directory that is there when the container starts."""

    path: AbsolutePath
    mode: Mode = "0755"
    owner: Literal["root", "user"] = "user"


class File(Strict):
    """A file of root's: there before packages are installed and put back afterwards."""

    path: AbsolutePath
    mode: Mode = "0644"
    content: str | None = None
    source: str | None = Field(default=None, description="path in the repository")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.content is None) == (self.source is None):
            raise ValueError("give either content or source")
        return self

    def read(self) -> bytes:
        """What the file holds."""
        return self.content.encode() if self.content is not None else (REPO / str(self.source)).read_bytes()


class Python(Strict):
    """Hash-pinned wheels in ``/opt/maia/lib`` and source trees of the repository in ``/opt/maia``."""

    lock: str
    trees: Words = ()


class Recipe(Strict):
    """One image over the base."""

    name: str
    description: str
    user: User
    packages: tuple[Package, ...] = ()
    purge: tuple[Package, ...] = Field(default=(), description="installed as a dependency, needed by nothing that runs")
    exclude: tuple[Glob, ...] = ()
    directories: tuple[Directory, ...] = ()
    files: tuple[File, ...] = ()
    tools: Words = Field(default=(), description="Go programs of infra.toolchain, put into /usr/local/bin")
    python: Python | None = None
    entrypoint: Words = ()
    cmd: Words = ()
    env: dict[str, str] = {}
    workdir: AbsolutePath | Literal["/"] = "/"
    stop_signal: Annotated[str, Field(pattern=r"^SIG[A-Z0-9]+$")] = "SIGTERM"

    @model_validator(mode="after")
    def _starts_something(self) -> Self:
        if not self.entrypoint and not self.cmd:
            raise ValueError("give entrypoint or cmd")
        return self

    @property
    def sources(self) -> list[Path]:
        """Every file of the repository whose content goes in, sorted."""
        found = [REPO / file.source for file in self.files if file.source]
        if self.python:
            found.append(REPO / self.python.lock)
            for tree in self.python.trees:
                found += [path for path in (REPO / tree).rglob("*") if _shipped(path)]
        return sorted(found)

    def config(self) -> dict[str, Any]:
        """The ``config`` object of the image."""
        return {
            "User": f"{self.user.uid}:{self.user.gid}",
            "Env": [f"{key}={value}" for key, value in sorted({"PATH": PATH, **self.env}.items())],
            "Entrypoint": list(self.entrypoint) or None,
            "Cmd": list(self.cmd) or None,
            "WorkingDir": self.workdir,
            "StopSignal": self.stop_signal,
            "Labels": {
                "org.opencontainers.image.title": f"maia/{self.name}",
                "org.opencontainers.image.description": self.description,
            },
        }


PATH = "/usr/local/bin:/usr/bin:/usr/sbin"


class BaseRecipe(Strict):
    """The layer that all images share."""

    name: str
    description: str
    suite: str
    packages: tuple[Package, ...] = ()
    exclude: tuple[Glob, ...] = ()


AnyRecipe = TypeVar("AnyRecipe", Recipe, BaseRecipe)


def _shipped(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and path.suffix not in {".in", ".lock", ".pyc"}


def load(file: Path, kind: type[AnyRecipe]) -> AnyRecipe:
    """Reads one recipe; its name is the file's."""
    where = str(file.relative_to(REPO)) if file.is_relative_to(REPO) else str(file)
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        what = f"cannot be read: {' '.join(str(fault).split())}"
        raise MaiaError(what, where=where, mend="correct the file") from None
    if not isinstance(data, dict):
        raise MaiaError("is not a mapping of keys", where=where, mend="write a recipe like the others beside it")
    if "name" in data:
        raise MaiaError("the file name is the image's name", where=f"{where}: name", mend="leave the key out")
    try:
        recipe = kind.model_validate({"name": file.stem, **data})
    except ValidationError as fault:
        raise _explained(fault, where, kind) from None
    for source in recipe.sources if isinstance(recipe, Recipe) else ():
        if not source.is_file():
            raise MaiaError(
                f"no such file: {source.relative_to(REPO)}", where=f"{where}: files or python", mend="correct the path"
            )
    return recipe


def load_all(folder: Path = FOLDER) -> dict[str, Recipe]:
    """All images by name; ids belong to one user each, whom images share that work on the same files."""
    recipes = [load(file, Recipe) for file in sorted(folder.glob("*.yaml")) if file.stem != BASE]
    owners: dict[int, Recipe] = {}
    for recipe in recipes:
        for number in {recipe.user.uid, recipe.user.gid}:
            other = owners.setdefault(number, recipe)
            if other.user != recipe.user:
                where = f"{folder.name}/{recipe.name}.yaml: user"
                raise MaiaError(f"{number} belongs to {other.name}", where=where, mend="take a free id")
    return {recipe.name: recipe for recipe in recipes}


def load_base() -> BaseRecipe:
    """The recipe of the shared base."""
    return load(FOLDER / f"{BASE}.yaml", BaseRecipe)


def _explained(fault: ValidationError, where: str, kind: type[BaseModel]) -> MaiaError:
    first = fault.errors(include_url=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    mend = "correct the value"
    what = f"{first['msg'][:1].lower()}{first['msg'][1:]}, found {first['input']!r}"
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(first["loc"][-1]), _names(kind), n=1)
        what, mend = "unknown key", f"did you mean {near[0]}?" if near else "leave it out"
    elif first["type"] == "missing":
        what, mend = "is missing", "add it"
    elif not path:
        what = first["msg"].removeprefix("Value error, ")
    return MaiaError(what, where=f"{where}: {path}" if path else where, mend=mend)


def _names(kind: type[BaseModel]) -> set[str]:
    parts: tuple[type[BaseModel], ...] = (kind, User, Directory, File, Python)
    return {name for part in parts for name in part.model_fields}
