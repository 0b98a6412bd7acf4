"""The hundred ordinary tables, made from one description: what a column may be, and how tables are put together."""

from __future__ import annotations

from collections.abc import Iterator

AREAS = ("community", "conversation", "consciousness", "journal", "practice", "wisdom", "astrology", "voice", "billing")
SUBJECTS = (
    "entries", "threads", "replies", "reactions", "sessions", "insights", "patterns", "goals", "events", "notes",
    "members", "feedback",
)  # fmt: skip
KINDS = (
    ("title", "text not null default ''", "'title ' || n"),
    ("body", "text", "case when n % 5 = 0 then null else repeat('words of ünicode ', n % 40) end"),
    ("about", "jsonb default '{}'::jsonb", "jsonb_build_object('n', n, 'deep', jsonb_build_array(null, n / 7.0))"),
    ("tags", "text[] default '{}'::text[]", "array['t' || n % 9, null, '']"),
    ("score", "double precision", "sqrt(n)"),
    ("price", "numeric(12, 4) check (price >= 0)", "n / 3.0"),
    ("happened_at", "timestamp", "'2025-10-26 01:30'::timestamp + n * interval '1 hour'"),
    ("is_public", "boolean default false", "n % 2 = 0"),
    ("state", "text check (state in ('open', 'shut', ''))", "(array['open', 'shut', ''])[1 + n % 3]"),
    ("seen_from", "inet", "'198.51.100.0'::inet + n % 255"),
    ("level", "smallint default 1", "n % 100"),
    ("raw", "bytea", "decode(md5(n::text), 'hex')"),
    ("peers", "uuid[]", "array[md5('user' || n)::uuid]"),
    ("length", "interval", "n * interval '1 minute 1 second'"),
)
KEYS = (
    ("uuid primary key default extensions.uuid_generate_v4()", "md5('{table}' || n)::uuid"),
    ("bigint generated always as identity primary key", None),
    ("text primary key", "'{table}-' || n"),
    ("bigserial primary key", "n"),
)
COLUMNS = 9


def names() -> list[str]:
    """Of all of them."""
    return [f"{area}_{subject}" for area in AREAS for subject in SUBJECTS]


def statements(rows: int) -> Iterator[str]:
    """Tables, their rows, indexes and policies."""
    for number, table in enumerate(names()):
        yield from _table(table, number, rows)


def _table(table: str, number: int, rows: int) -> Iterator[str]:
    key, key_value = KEYS[number % len(KEYS)]
    # Most refer to their user by text, as real ones do.
    by_text = number % 3 > 0
    user = ("text", "md5('user' || 1 + n % 400)") if by_text else (
        "uuid references auth.users (id) on delete cascade", "md5('user' || 1 + n % 400)::uuid"
    )  # fmt: skip
    chosen = [KINDS[(number + step) % len(KINDS)] for step in range(COLUMNS)]
    columns = [f"id {key}", f"user_id {user[0]}", *(f"{name} {kind}" for name, kind, _ in chosen)]
    columns.append("created_at timestamptz not null default now()")
    yield f"create table public.{table} ({', '.join(columns)})"
    values = {name: value for name, _, value in chosen}
    values |= {"user_id": user[1], "created_at": "'2026-01-01'::timestamptz + n * interval '1 minute'"}
    if key_value:
        values["id"] = key_value.format(table=table)
    yield f"""insert into public.{table} ({", ".join(values)})
        select {", ".join(values.values())} from generate_series(1, {rows + number}) n"""
    yield f"create index on public.{table} (user_id, created_at desc)"
    if "about" in values:
        yield f"create index on public.{table} using gin (about jsonb_path_ops)"
    if "tags" in values:
        yield f"create index on public.{table} using gin (tags)"
    if "title" in values:
        yield f"create index on public.{table} (lower(title)) where title <> ''"
    if number % 2 == 0:
        whose = "auth.uid()::text = user_id" if by_text else "auth.uid() = user_id"
        yield f"alter table public.{table} enable row level security"
        yield f"create policy own_{table} on public.{table} to authenticated using ({whose}) with check ({whose})"
        yield f'create policy "Service role reads {table}" on public.{table} for select to service_role using (true)'
