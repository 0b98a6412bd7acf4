"""The data dictionary and the diagrams of the schema, from a database that has it."""

from __future__ import annotations

import hashlib
import html
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml

from app.schema import files

HOME = Path(__file__).parents[2] / "docs" / "schema"
NAMES = files.HOME / "names.yaml"
WRITTEN = "<!-- Written by `python -m tests.schema_documents`; changes made here are lost. -->\n"
COLORS = {"key": "#e8eef7", "head": "#274060", "line": "#7a8aa0"}

TABLES = """
select relname, obj_description(oid, 'pg_class') from pg_class
where relnamespace = 'maia'::regnamespace and relkind in ('r', 'p')
"""
COLUMNS = """
select c.relname, a.attname, replace(replace(format_type(a.atttypid, a.atttypmod), 'maia.', ''), 'extensions.', ''),
    a.attnotnull, case when a.attgenerated <> '' then 'derived'
        else coalesce(replace(pg_get_expr(d.adbin, d.adrelid), 'maia.', ''), '') end,
    coalesce(col_description(a.attrelid, a.attnum), ''),
    exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary and a.attnum = any (i.indkey))
from pg_attribute a join pg_class c on c.oid = a.attrelid
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where c.relnamespace = 'maia'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
order by 1, a.attnum
"""
REFERENCES = """
select c.conrelid::regclass::text, a.attname, c.confrelid::regclass::text
from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
where c.contype = 'f' and c.connamespace = 'maia'::regnamespace order by 1, 2, 3
"""
CHECKS = """
select c.conrelid::regclass::text, pg_get_constraintdef(c.oid) from pg_constraint c
where c.contype in ('c', 'u', 'x') and c.conrelid <> 0 and c.connamespace = 'maia'::regnamespace
order by 1, c.contype, 2
"""
POLICIES = """
select tablename, lower(cmd), policyname, array_to_string(roles, ', '), coalesce(qual, with_check) from pg_policies
where schemaname = 'maia' and permissive = 'PERMISSIVE' and not roles = '{maia_owner}'
order by tablename, array_position(array['SELECT', 'INSERT', 'UPDATE', 'DELETE'], cmd), policyname
"""
TYPES = """
select t.typname, obj_description(t.oid, 'pg_type'), format_type(t.typbasetype, t.typtypmod) from pg_type t
where t.typnamespace = 'maia'::regnamespace and t.typtype = 'd' order by 1
"""


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    required: bool
    default: str
    about: str
    key: bool


@dataclass
class Dictionary:
    """What the catalogue says of the tables."""

    tables: dict[str, str]
    columns: dict[str, list[Column]]
    references: dict[str, dict[str, str]]
    checks: dict[str, list[str]]
    policies: dict[str, list[tuple[str, str, str, str]]]
    types: list[tuple[str, str, str]]


def read(link: psycopg.Connection[Any]) -> Dictionary:
    found = Dictionary(dict(link.execute(TABLES).fetchall()), {}, {}, {}, {}, link.execute(TYPES).fetchall())
    link.execute("set search_path = maia, extensions")
    for table, *rest in link.execute(COLUMNS):
        found.columns.setdefault(table, []).append(Column(*rest))
    for table, column, target in link.execute(REFERENCES):
        found.references.setdefault(table, {})[column] = target
    for table, check in link.execute(CHECKS):
        found.checks.setdefault(table, []).append(check)
    for table, *policy in link.execute(POLICIES):
        found.policies.setdefault(table, []).append((policy[0], policy[1], policy[2], policy[3]))
    link.execute("reset search_path")
    return found


def render(link: psycopg.Connection[Any]) -> dict[str, str]:
    """File name to text of every page."""
    found = read(link)
    pages = {f"{domain}.md": "".join(_page(found, domain, tables)) for domain, tables in files.domains().items()}
    return pages | {"README.md": "".join(_index(found)), "names.md": "".join(_names())}


def _index(found: Dictionary) -> Iterator[str]:
    yield f"{WRITTEN}\n# The schema\n\n{len(found.tables)} tables in the schema `maia`, by what they are about. "
    yield "How they are made, kept and read: [schema.md](../schema.md). "
    yield "Names of the application: [names.md](names.md).\n\n"
    yield "| domain | tables |\n|---|---|\n"
    for domain, tables in files.domains().items():
        yield f"| [{domain}]({domain}.md) | {', '.join(f'`{table}`' for table in tables)} |\n"
    yield "\n## Kinds of values\n\n| name | of | what |\n|---|---|---|\n"
    for name, about, base in found.types:
        yield f"| `{name}` | {base} | {_cell(about)} |\n"


def _page(found: Dictionary, domain: str, tables: list[str]) -> Iterator[str]:
    yield f"{WRITTEN}\n# {domain.capitalize()}\n\n![The tables and what they point to]({domain}.svg)\n"
    for table in tables:
        yield f"\n## {table}\n\n{found.tables[table]}\n\n| column | type | | what |\n|---|---|---|---|\n"
        for column in found.columns[table]:
            target = found.references.get(table, {}).get(column.name)
            notes = [
                "**key**" if column.key else "",
                "" if column.required else "may be empty",
                f"default `{_cell(column.default)}`" if column.default not in ("", "derived") else column.default,
                f"→ `{target}`" if target else "",
            ]
            yield f"| `{column.name}` | {column.type} | {', '.join(filter(None, notes))} | {_cell(column.about)} |\n"
        if checks := found.checks.get(table):
            yield "\n" + "".join(f"- `{' '.join(check.split())}`\n" for check in checks)
        yield "\n" + ("".join(_policies(found.policies.get(table, []))))


def _policies(policies: list[tuple[str, str, str, str]]) -> Iterator[str]:
    if not policies:
        yield "Nobody but services reads or writes it.\n"
        return
    yield "| who | may | where |\n|---|---|---|\n"
    for verb, _, roles, condition in policies:
        yield f"| {roles} | {verb} | `{_cell(' '.join(condition.split()))}` |\n"


def _names() -> Iterator[str]:
    names: dict[str, str] = yaml.safe_load(NAMES.read_text())
    yield f"{WRITTEN}\n# Names of the application\n\n"
    yield f"Where the {len(names)} tables that the application knows by name are here. "
    yield "Families of tables that differ in one word are one table with a column `kind`.\n\n"
    yield "| the application's | here |\n|---|---|\n"
    for name, table in names.items():
        yield f"| `{name}` | {'the same' if name == table else f'`{table}`'} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def diagrams(link: psycopg.Connection[Any]) -> dict[str, str]:
    """Domain to its diagram, in the language of Graphviz."""
    found = read(link)
    return {domain: "".join(_diagram(found, tables)) for domain, tables in files.domains().items()}


def _diagram(found: Dictionary, tables: list[str]) -> Iterator[str]:
    yield 'digraph { rankdir=LR; ranksep=0.8; nodesep=0.25; node [shape=plain fontname="sans-serif" fontsize=10]; '
    yield f'edge [color="{COLORS["line"]}" arrowsize=0.6];\n'
    away: set[str] = set()
    for table in tables:
        rows = "".join(
            f'<tr><td align="left" port="{column.name}"{_fill(column)}>{column.name} '
            f'<font color="#667085">{html.escape(column.type)}</font></td></tr>'
            for column in found.columns[table]
        )
        frame = f'border="1" cellborder="0" cellspacing="0" cellpadding="3" color="{COLORS["line"]}"'
        head = f'<tr><td bgcolor="{COLORS["head"]}"><font color="white"><b>{table}</b></font></td></tr>'
        yield f'"{table}" [label=<<table {frame}>{head}{rows}</table>>];\n'
        for column, target in found.references.get(table, {}).items():
            if target == "users" and "users" not in tables:
                continue  # nearly every table has it: the line would say nothing
            away |= {target} - set(tables)
            yield f'"{table}":"{column}" -> "{target}";\n'
    for target in sorted(away):
        yield f'"{target}" [shape=box style=rounded color="{COLORS["line"]}" fontcolor="#667085"];\n'
    yield "}\n"


def _fill(column: Column) -> str:
    return f' bgcolor="{COLORS["key"]}"' if column.key else ""


def draw(source: str) -> str:
    """The diagram as SVG, with the digest of what it was drawn from."""
    command = ["dot", "-Tsvg"]
    drawn = subprocess.run(command, input=source, text=True, capture_output=True, check=True).stdout
    return f"{drawn.rstrip()}\n{mark(source)}\n"


def mark(source: str) -> str:
    """What tells whether a drawing is of this source: drawings differ with the fonts of the machine."""
    return f"<!-- of {hashlib.sha256(source.encode()).hexdigest()} -->"
