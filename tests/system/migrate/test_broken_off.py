"""A copy that was killed, cut off or stopped by a full disk goes on where it was."""

from __future__ import annotations

import subprocess
import sys

import pytest

from app.migrate.refused import Refused
from infra.site import REPO
from tests.postgres import Server
from tests.processes import kill_at
from tests.supabase.moving import copier, idle, same_rows
from tests.supabase.project import Project
from tests.system.mutations import until

LONG = pytest.mark.long


@pytest.mark.parametrize(
    "at",
    [
        "reading the definitions",
        pytest.param("type public.mood", marks=LONG),
        pytest.param("public.huge:", marks=LONG),
        "public.profiles:",
        pytest.param("index public.", marks=LONG),
        "fk constraint",
        pytest.param("policy", marks=LONG),
        pytest.param("statistics", marks=LONG),
    ],
)
def test_killed_anywhere_it_goes_on_and_everything_is_there(
    supabase: Project, appliance: Server, fresh: str, image: str, at: str
) -> None:
    command = [sys.executable, "-m", "tests.supabase.mover", appliance.socket, fresh, str(supabase.file), image]
    kill_at(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPO), at)
    until(lambda: idle(appliance, fresh), "the killed one's sessions end")
    found = copier(supabase, appliance, fresh, image).run()
    assert same_rows(supabase, appliance, fresh) == []
    assert [each for each in found if not each.outcome] == []


def test_what_was_written_between_a_kill_and_the_next_run_is_there(
    supabase: Project, appliance: Server, fresh: str, image: str
) -> None:
    command = [sys.executable, "-m", "tests.supabase.mover", appliance.socket, fresh, str(supabase.file), image]
    with supabase.owner() as link:
        link.execute("create table public.moving (id int primary key, body text); create table public.other (id int)")
        link.execute("insert into public.moving select n, repeat(md5(n::text), 100) from generate_series(1, 5000) n")
        try:
            kill_at(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPO), "public.moving:")
            until(lambda: idle(appliance, fresh), "the killed one's sessions end")
            link.execute(
                "update public.moving set body = 'changed' where id = 3; delete from public.moving where id = 4"
            )
            link.execute("insert into public.other values (1), (1)")
            copier(supabase, appliance, fresh, image).run()
            assert same_rows(supabase, appliance, fresh) == []
        finally:
            link.execute("drop table public.moving, public.other")


def test_a_source_that_ends_its_connections_is_one_line_and_the_next_run_goes_on(
    supabase: Project, appliance: Server, fresh: str, image: str
) -> None:
    def say(text: str) -> None:
        if text.startswith("public.memories:"):
            with supabase.platform() as link:
                link.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'maia migrate'"
                )

    with pytest.raises(Refused, match="went away") as refused:
        copier(supabase, appliance, fresh, image, say).run()
    assert "\n" not in str(refused.value)
    copier(supabase, appliance, fresh, image).run()
    assert same_rows(supabase, appliance, fresh) == []


def test_a_full_target_stops_the_copy_and_it_goes_on_when_there_is_room(
    supabase: Project, appliance: Server, fresh: str, image: str
) -> None:
    filler, free = "/var/lib/postgresql/filler", "$(df --output=avail -B1 /var/lib/postgresql | tail -1)"

    def say(text: str) -> None:
        if text.startswith("1 of"):
            appliance.container.exec_run(
                [
                    "sh",
                    "-c",
                    f"test -e {filler} || fallocate -l $(({free} - 6000000)) {filler}",
                ],
                user="root",
            )

    try:
        with pytest.raises(Refused, match=r"No space left|disk full"):
            copier(supabase, appliance, fresh, image, say).run()
    finally:
        appliance.container.exec_run(["rm", "-f", filler], user="root")
    until(lambda: idle(appliance, fresh), "the broken off one's sessions end")
    copier(supabase, appliance, fresh, image).run()
    assert same_rows(supabase, appliance, fresh) == []
