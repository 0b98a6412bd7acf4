"""Takes the figures of ``docs/benchmarks-hosts.md``: ``python -m tests.bench.hosts``.

What servers cost, each figure beside a plain ``ansible-playbook`` of the same roles in the same run. It has lab hosts
of its own and two stacks without parts, of one server and of three; all of that goes afterwards.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import docker
import yaml

from infra import atomic, catalog, converge, initialise, ssh
from infra.cli import common
from infra.hosts import work
from infra.hosts.voice import Voice
from infra.hosts.work import Order
from infra.lab import Lab
from infra.site import REPO, Site
from infra.toolchain import pulumi
from tests.bench import hosts_page, machine
from tests.bench.machine import middle, run, timed
from tests.conftest import Appliance
from tests.roles import quiet
from tests.servers import given, letting_in

PAGE = REPO / "docs" / "benchmarks-hosts.md"
ROLES = {"docker": {"hardened": True}}
"""What the stack file says of each server's roles: all of them are carried out."""
STACKS = {"alone": ("first",), "trio": ("second", "third", "fourth")}
SUBNETS = {"alone": "10.86.0.0/20", "trio": "10.87.0.0/20"}
VOICE = Voice(say=quiet, note=quiet)
Say = Callable[[str], None]


@dataclass
class Found:
    """Seconds, by what took them."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    tasks: int = 0
    """That one server's roles consist of, those left out not counted."""
    verdict: str = ""
    """What the checks of one server said."""

    def take(self, what: str, action: Callable[[], object]) -> None:
        self.seconds.setdefault(what, []).append(timed(action))

    def __contains__(self, what: str) -> bool:
        return what in self.seconds

    def middle(self, what: str) -> float:
        return middle(self.seconds[what])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hosts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", action="store_true", help="leave out what three servers cost")
    parser.add_argument("--out", type=Path, default=PAGE)
    args = parser.parse_args()
    say, load = machine.clock(), machine.load()

    with tempfile.TemporaryDirectory(prefix="maia-bench-") as folder:
        with _servers(Site(Path(folder) / "site"), ("alone",) if args.one else tuple(STACKS), say) as made:
            found = _measure(made, Path(folder) / "plain", args.rounds, say)
    atomic.write(args.out, hosts_page.write(found, rounds=args.rounds, load=load), mode=0o644)
    say(f"written: {args.out}")


@contextmanager
def _servers(site: Site, names: Sequence[str], say: Say) -> Iterator[dict[str, Appliance]]:
    """The stacks by name, with bare servers that are still to be prepared."""
    initialise.make_site(site)
    lab, made = Lab(site, docker.from_env()), {}
    try:
        for name in names:
            say(f"bare servers: {', '.join(STACKS[name])}")
            reached = {host: given(letting_in(lab, f"bench-{host}", site), roles=ROLES) for host in STACKS[name]}
            values = {"version": 1, "subnet": SUBNETS[name], "backup": {"at": None}, "parts": {}, "hosts": reached}
            made[name] = Appliance(name, site.root, values)
            made[name].disable(*(service.name for service in catalog.SERVICES))
            made[name].write()
        yield made
    finally:
        for stack in made.values():
            if stack.site.stack_file(stack.name).exists():
                say(f"removing the stack {stack.name}")
                for host in stack.stack.plan.hosts:  # its server goes too: nothing need be undone there
                    stack.maia("host", "remove", host.name, "--gone", check=False)
                stack.maia("destroy", "--yes", stack.name, check=False)
        lab.down(quiet)


def _measure(made: dict[str, Appliance], folder: Path, rounds: int, say: Say) -> Found:
    """Every figure, what is compared in turns."""
    found = Found()
    alone = _prepared(made["alone"], found, say)
    measure_one(alone, folder, rounds, found, say)
    if "trio" in made:
        measure_three(alone, _prepared(made["trio"], found, say), rounds, found, say)
    return found


def _prepared(stack: Appliance, found: Found, say: Say) -> Appliance:
    say(f"{stack.name}: from bare to prepared")
    found.take(f"bare {stack.name}", partial(stack.maia, "up", "--skip-checks"))
    return stack


def measure_one(stack: Appliance, folder: Path, rounds: int, found: Found, say: Say) -> None:
    """What one server costs, beside Ansible alone on the same server."""
    orders = _orders(stack)
    plain = Plain(folder, orders[0])
    for number in range(rounds):
        say(f"nothing that feeds the roles changed ({number + 1} of {rounds})")
        found.take("unchanged", partial(_unchanged, stack))
        found.take("unchanged, engine", partial(_bare, stack))
        found.take("unchanged, host", partial(_looked, orders, False))
        say(f"every task looked at ({number + 1} of {rounds})")
        found.take("verified", partial(stack.maia, "up", "--skip-checks", "--refresh"))
        found.take("verified, host", partial(_looked, orders, True))
        say(f"the same by plain ansible-playbook ({number + 1} of {rounds})")
        found.take("plain", plain.check)
        found.take("plain, pipelined", partial(plain.check, ANSIBLE_PIPELINING="1"))
        say(f"maia check of a server ({number + 1} of {rounds})")
        found.take("check", partial(_checked, stack, found))
    found.tasks = plain.tasks


def measure_three(one: Appliance, three: Appliance, rounds: int, found: Found, say: Say) -> None:
    """What three servers cost, beside one."""
    for number in range(rounds):
        say(f"three servers beside one ({number + 1} of {rounds})")
        found.take("one of three", partial(one.maia, "up", "--skip-checks", "--refresh"))
        found.take("three", partial(three.maia, "up", "--skip-checks", "--refresh"))
        found.take("one of three, host", partial(_looked, _orders(one), True))
        found.take("three, hosts", partial(_looked, _orders(three), True))


def _checked(stack: Appliance, found: Found) -> None:
    told = stack.maia("check", "--host", "first", check=False).stdout
    verdict = re.search(r"^checks: +(.+?);", told, re.MULTILINE)
    assert verdict, told
    found.verdict = verdict[1]


def _unchanged(stack: Appliance) -> None:
    done = stack.maia("up", "--skip-checks")
    assert "nothing that feeds its roles has changed" in done.stderr, done.stderr


def _bare(stack: Appliance) -> None:
    """The engine by hand, without a refresh: it looks at no server then."""
    env = common.engine(stack.stack, quiet).environment | {"MAIA_SITE": str(stack.root), "MAIA_STACK": stack.name}
    words = ("up", "--yes", "--skip-preview", "--non-interactive", "--stack", stack.name)
    run(pulumi.prepare(quiet).pulumi, *words, env=env)


def _orders(stack: Appliance) -> list[Order]:
    return [
        Order(site=stack.site, stack=stack.name, host=host, roles={role.name: work.fed(role) for role in host.roles})
        for host in stack.stack.plan.hosts
    ]


def _looked(orders: Sequence[Order], thorough: bool) -> None:
    """The resource's own part, several at once, as the engine does it."""
    with ThreadPoolExecutor(len(orders)) as pool:
        for looked in pool.map(lambda order: work.drift(order, VOICE, thorough=thorough), orders):
            assert looked, "it is ours"
            assert looked[1] == [], "nothing has drifted"


class Plain:
    """The same roles with the same variables, as who has Ansible alone carries them out.

    Its settings are Ansible's own, which keep a connection for a minute and do not pipeline. It need not gather facts:
    no role asks for them.
    """

    def __init__(self, folder: Path, order: Order) -> None:
        folder.mkdir()
        self._folder, host = folder, order.host
        server = ssh.server(order.site, order.stack, host.name, host)
        reached = {
            "ansible_host": server.address,
            "ansible_user": server.user,
            "ansible_ssh_private_key_file": str(server.key),
            "ansible_ssh_common_args": f"-oUserKnownHostsFile={server.known} -oHostKeyAlias={server.name}",
        }
        play = {
            "hosts": "all",
            "become": True,
            "gather_facts": False,
            "vars": {"maia_host": host.kind},
            "roles": [{"role": role.name, "vars": role.variables} for role in host.roles],
        }
        (folder / "inventory.yaml").write_text(yaml.safe_dump({"all": {"hosts": {host.name: reached}}}))
        (folder / "site.yaml").write_text(yaml.safe_dump([play]))
        (folder / "roles").symlink_to(converge.ROLES)
        self.tasks = 0

    def check(self, **settings: str) -> None:
        """Look what would change; nothing would."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        program = Path(sys.executable).with_name("ansible-playbook")
        files = ("-i", self._folder / "inventory.yaml", self._folder / "site.yaml")
        said = run(program, "--check", *files, env=kept | {"HOME": str(self._folder)} | settings)
        recap = re.search(r"ok=(\d+) +changed=(\d+)", said)
        assert recap, said
        assert recap[2] == "0", said
        self.tasks = int(recap[1])


if __name__ == "__main__":
    main()
