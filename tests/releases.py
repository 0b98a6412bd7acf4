"""Programs of other releases: copies of this one with another number and other content."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from app.schema import files
from infra.releases import program, version
from infra.site import REPO

FIRST = "0.0.9"
"""A release before the first one, from which there is an upgrade to this one."""
BROKEN = 'command=("sh", "-c", "echo no such module: flux >&2; exit 1"),'

NEXT = "0002"
"""The version of the schema that a later release brings along."""
ADDED = """-- More of people.
alter table users add column motto prose;
comment on column users.motto is 'What they live by.';
"""

NOTE = '''
"""A resource that this release brings along."""

from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from infra.components.dynamic import Provider


class NoteProvider(Provider):
    def identity(self, props):
        return props["path"]

    def ensure(self, props):
        Path(props["path"]).touch()
        return {}

    def observe(self, props):
        return {} if Path(props["path"]).exists() else None

    def remove(self, props):
        Path(props["path"]).unlink()


class Note(Resource, module="maia", name="Note"):
    def __init__(self, path):
        super().__init__(NoteProvider(), "note", {"path": path}, pulumi.ResourceOptions())
'''


def checkout(folder: Path, release: str, *upgrades_from: str, changes: Mapping[str, tuple[str, str]] = {}) -> Path:
    """A program of its own; ``changes``: in which file what is replaced by what."""
    for path in program.files():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPO / path, folder / path)
    edit(folder, "pyproject.toml", f'version = "{version()}"', f'version = "{release}"')
    said = next(line for line in (REPO / "pyproject.toml").read_text().splitlines() if "upgrades-from" in line)
    edit(folder, "pyproject.toml", said, f"upgrades-from = {list(upgrades_from)}")
    for name, (old, new) in changes.items():
        edit(folder, name, old, new)
    return folder


def edit(folder: Path, path: str, old: str, new: str) -> None:
    text = (folder / path).read_text()
    assert old in text, f"{path}: {old}"
    (folder / path).write_text(text.replace(old, new, 1))


def with_version(folder: Path, number: str, statements: str) -> Path:
    """The program with one version more of the schema."""
    home, last = folder / "app" / "schema", files.versions()[-1]
    (home / "sql" / number).mkdir()
    (home / "sql" / number / "10_identity.sql").write_text(statements)
    stub = f'from app.schema.apply import version\n\nrevision = "{number}"\ndown_revision = "{last}"\n\n\n'
    (home / "versions" / f"v{number}.py").write_text(f"{stub}def upgrade() -> None:\n    version(revision)\n")
    return folder


def first(folder: Path) -> Path:
    """The first release: another default, another image, another file of the gateway's."""
    return checkout(
        folder,
        FIRST,
        changes={
            "templates/gateway/nginx.conf.j2": ("worker_processes", f"# release {FIRST}\nworker_processes"),
            "infra/images/nginx.yaml": ("packages: [nginx, nftables]", "packages: [nginx, nftables, tini]"),
            "infra/config.py": ("default=14, description=", "default=7, description="),
            "stacks/schema.json": ('"default": 14,', '"default": 7,'),
        },
    )


def present(folder: Path) -> Path:
    """This program, as an upgrade of the first one.

    It brings a kind of resource that the first one never heard of, and a version of the schema.
    """
    made = with_version(checkout(folder, version(), FIRST), NEXT, ADDED)
    (made / "infra/components/note.py").write_text(NOTE.lstrip())
    edit(
        made,
        "infra/components/appliance.py",
        "        self.parts: dict[str, Part] = {}\n",
        '        Note(str(site.root / "note"))\n        self.parts: dict[str, Part] = {}\n',
    )
    edit(
        made,
        "infra/components/appliance.py",
        "from infra.components.part import",
        "from infra.components.note import Note\nfrom infra.components.part import",
    )
    return made
