"""List, add, replace, drain, upgrade, trust or remove the servers of the stack; exchange the key that opens them.

`rotate` is for the servers of every stack: they share the site's key. `offboard` takes an administrator out of every
server's list; the next up puts that person out there.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from infra.engine import Engine
    from infra.plan import Host
    from infra.stack import Stack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="with address, state and system")
    add = actions.add_parser("add", help="look at a server and write it into the stack file")
    add.add_argument("name", metavar="NAME")
    add.add_argument("address", metavar="ADDRESS")
    add.add_argument("--port", type=int, default=22, help="of ssh (22)")
    add.add_argument("--login", default="root", help="who lets us in at first: root, or a user with sudo (root)")
    add.add_argument("--kernel", choices=("own", "shared"), default="own", help="shared: it is a container (own)")
    replace = actions.add_parser("replace", help="another machine takes its place: forget the key of the former one")
    replace.add_argument("name", metavar="NAME")
    replace.add_argument("address", metavar="ADDRESS", nargs="?", help="where it is, if that is new")
    drain = actions.add_parser("drain", help="stop the stack's containers on it, until the next up")
    drain.add_argument("name", metavar="NAME")
    upgrade = actions.add_parser("upgrade", help="bring its packages to what its mirror has today")
    upgrade.add_argument("names", metavar="NAME", nargs="*", help="all of them, one after another, where none is named")
    upgrade.add_argument(
        "--restart", action="store_true", help="restart it where something wants that, and wait for it"
    )
    actions.add_parser("rotate", help="exchange the site's key on the servers of all stacks")
    offboard = actions.add_parser("offboard", help="an administrator leaves: out of every server's list")
    offboard.add_argument("who", metavar="WHO", help="the login name")
    trust = actions.add_parser("trust", help="accept the key that it shows now in the place of the pinned one")
    trust.add_argument("name", metavar="NAME")
    trust.add_argument("--yes", metavar="FINGERPRINT", help="the new key's, instead of typing yes")
    remove = actions.add_parser("remove", help="take it out of the stack file; the next up gives it back")
    remove.add_argument("name", metavar="NAME")
    remove.add_argument("--gone", action="store_true", help="it is no more: forget it without asking it")


def run(args: argparse.Namespace) -> int:
    stack = dataclasses.replace(common.selected(args), ahead=True)  # it is for servers that cannot be asked, too
    actions = {
        "add": _add,
        "replace": _replace,
        "drain": _drain,
        "upgrade": _upgrade,
        "offboard": _offboard,
        "trust": _trust,
        "remove": _remove,
    }
    if args.action == "list":
        return _list(stack)
    if args.action == "rotate":
        return _rotate(stack)
    with common.locked(stack, f"host {args.action}"):
        return actions[args.action](stack, args)


def _list(stack: Stack) -> int:
    from rich.table import Table

    from infra.hosts import outlook

    table = Table("host", "address", "state", "system", "roles", box=None, pad_edge=False)
    for host, state in outlook.of(stack):
        roles = " ".join(role.name for role in host.roles)
        table.add_row(host.name, f"{host.address}:{host.port}", state.told, state.system, roles)
    common.show(table)
    return 0


def _add(stack: Stack, args: argparse.Namespace) -> int:
    from infra import config, initialise
    from infra.hosts import taking
    from infra.hosts.voice import Voice
    from infra.plan import Host
    from infra.progress import Progress

    if args.name in stack.config.hosts:
        raise MaiaError("is there already", where=f"maia:hosts.{args.name}", mend=f"maia host replace {args.name}")
    asked = {"address": args.address, "port": args.port, "login": args.login, "kernel": args.kernel}
    given = stack.config.model_dump(mode="json", exclude_unset=True).get("hosts", {})
    config.parse(stack.name, {**stack.values, "maia:hosts": {**given, args.name: asked}})
    host = Host(
        name=args.name,
        address=args.address,
        port=args.port,
        login=args.login,
        kind="machine" if args.kernel == "own" else "container",
        roles=(),
        secrets=(),
    )
    with Progress() as progress:
        with progress.step("engine") as say:
            engine = common.engine(stack, say)
        with progress.step("looking") as say:
            initialise.make_site(stack.site)
            voice = Voice(say=say, note=lambda text: progress.line(f"{args.name}: {text}"))
            with taking.entered(stack.site, stack.name, host, voice) as link:
                found = taking.inspected(link, stack.site, stack.name, host, adopt=True)
        with progress.step("writing") as say:
            initialise.begin(stack, engine, say)
            for key, value in asked.items():
                engine.configure(f"maia:hosts.{args.name}.{key}", str(value), path=True)
    print(f"{args.name}: {' '.join(found.system)}, kernel {found.kernel}, as {link.server.user}")
    print(f"next: maia up --stack {stack.name}")
    return 0


def _replace(stack: Stack, args: argparse.Namespace) -> int:
    host, engine = _known(stack, args.name), _engine(stack)
    if args.address:
        engine.configure(f"maia:hosts.{host.name}.address", args.address, path=True)
    if stack.plan.on != host.name:  # else the parts' resources are its own
        engine.forget("maia:host:Host", host.name)  # the next up would ask the former machine, which may be no more
    stack.site.known(stack.name, host.name).unlink(missing_ok=True)
    print(f"{host.name}: the former machine's key is forgotten; what is on that machine stays there")
    print(f"next: maia up --stack {stack.name}, which takes over whatever answers at {args.address or host.address}")
    return 0


def _drain(stack: Stack, args: argparse.Namespace) -> int:
    from infra.hosts import outlook
    from infra.progress import Progress

    host = _known(stack, args.name)
    with Progress() as progress, progress.step("draining") as say:
        stopped = outlook.drain(stack, host, say)
    print(f"{host.name}: {len(stopped)} containers stopped; maia up --stack {stack.name} starts them again")
    return 0


def _upgrade(stack: Stack, args: argparse.Namespace) -> int:
    from infra import health
    from infra.hosts import renewal
    from infra.progress import Progress

    hosts = [_known(stack, name) for name in args.names] or stack.plan.hosts
    if not hosts:
        raise MaiaError("it has no servers", where=f"stack {stack.name}", mend="maia host add")
    left = 0
    for host in hosts:
        with Progress() as progress, progress.step(host.name) as say:
            done = renewal.renew(stack, host, say, restart=args.restart)
            if done.restarted and stack.plan.on == host.name and stack.plan.running:
                there = dataclasses.replace(stack, ahead=False)
                health.wait(there.plan, health.client(there.place), say)
        held = f", {done.held} held back" if done.held else ""
        print(f"{host.name}: {done.upgraded} upgraded, {done.new} new{held}{'; restarted' if done.restarted else ''}")
        for wanted in () if done.restarted else done.wants:
            print(f"{host.name}: a restart is wanted for {wanted}")
            left = 1
    if left:
        told = "with --restart it is done; a container's machine restarts it"
        print(f"next: maia host upgrade --restart --stack {stack.name} ({told})")
    return left


def _rotate(stack: Stack) -> int:
    from contextlib import ExitStack

    from infra import prune, ssh
    from infra.hosts import rekey
    from infra.progress import Progress
    from infra.stack import Stack

    with ExitStack() as held, Progress() as progress, progress.step("key") as say:
        members = []
        for name in prune.stacks(stack.site):
            other = Stack(name, stack.site, ahead=True)
            held.enter_context(common.locked(other, "host rotate"))
            for host in other.plan.hosts:
                server = ssh.server(stack.site, name, host.name, host)
                if server.known.exists():  # else it was never met, and has nothing of ours
                    members.append(rekey.Member(server, host.login))
        line = rekey.rotate(stack.site, members, say)
    print(f"{len(members)} servers let in this key and no former one of the site:\n{line}")
    return 0


def _offboard(stack: Stack, args: argparse.Namespace) -> int:
    lists = {name: host.roles.get("users", {}).get("admins", []) for name, host in stack.config.hosts.items()}
    entries = [
        (name, place) for name, admins in lists.items() for place, one in enumerate(admins) if one["name"] == args.who
    ]
    if not entries:
        raise MaiaError(f"no server has the administrator {args.who!r}", where=f"stack {stack.name}", mend="maia plan")
    engine = _engine(stack)
    for name, place in entries:
        engine.configure(f"maia:hosts.{name}.roles.users.admins[{place}]", None, path=True)
    print(f"{args.who}: out of the list of {', '.join(name for name, _ in entries)}")
    print(f"next: maia up --stack {stack.name}, which ends that person's sessions, keys and rights there")
    return 0


def _trust(stack: Stack, args: argparse.Namespace) -> int:
    from infra import atomic, ssh
    from infra.hosts import reach

    host = _known(stack, args.name)
    server = ssh.server(stack.site, stack.name, host.name, host)
    line, shown = reach.presented(server)
    pinned = reach.pinned(server)
    if shown == pinned:
        print(f"{host.name}: {shown} is pinned already")
        return 0
    print(f"pinned: {pinned or 'none'}\nshown:  {shown}")
    if args.yes is None and not sys.stdin.isatty():
        mend = f"maia host trust {host.name} --yes {shown} --stack {stack.name}"
        raise MaiaError("asks whether that is right, and there is no terminal", where=f"host {host.name}", mend=mend)
    typed = args.yes if args.yes is not None else input("Type yes if that is the server's own key: ").strip()
    if typed not in (("yes", shown) if args.yes is None else (shown,)):
        raise MaiaError(f"{typed!r} is no consent, nothing was changed", where=f"host {host.name}")
    server.known.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    atomic.write(server.known, line)
    print(f"{host.name}: pinned")
    return 0


def _remove(stack: Stack, args: argparse.Namespace) -> int:
    host = _known(stack, args.name)
    if stack.plan.on == host.name:
        raise MaiaError(
            "the parts run on it",
            where=f"host {host.name}",
            mend=f"maia destroy --stack {stack.name}{' --gone' if args.gone else ''}",
        )
    engine = _engine(stack)
    engine.configure(f"maia:hosts.{host.name}", None, path=True)
    if args.gone:
        engine.forget("maia:host:Host", host.name)
        stack.site.known(stack.name, host.name).unlink(missing_ok=True)
        print(f"{host.name}: forgotten; what is on it stays there")
    else:
        print(f"{host.name}: out of the stack file\nnext: maia up --stack {stack.name}, which gives it back")
    return 0


def _known(stack: Stack, name: str) -> Host:
    from infra.config import nearest

    hosts = {host.name: host for host in stack.plan.hosts}
    if name not in hosts:
        mend = nearest(name, hosts) if hosts else "maia host add"
        raise MaiaError(f"no host {name!r}", where=f"stack {stack.name}", mend=mend)
    return hosts[name]


def _engine(stack: Stack) -> Engine:
    from infra.progress import Progress

    with Progress() as progress, progress.step("engine") as say:
        return common.engine(stack, say)
