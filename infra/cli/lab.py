"""Start, list, enter or remove test hosts: servers in containers, with systemd and ssh, or virtual machines."""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import TYPE_CHECKING

from infra.cli import common
from infra.errors import MaiaError
from infra.site import Site

if TYPE_CHECKING:
    from infra.lab import Lab

RELEASES = ("12", "13")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    up = actions.add_parser("up", help="have hosts that answer: debian12 and debian13, or those named")
    up.add_argument("names", nargs="*", metavar="NAME")
    up.add_argument("--debian", choices=RELEASES, help="of the hosts named (13)")
    up.add_argument("--no-systemd", action="store_true", help="hosts whose first process is the ssh daemon")
    machine = actions.add_parser(
        "vm", help="have a virtual machine that answers, of Debian 13: a kernel of its own, slow"
    )
    machine.add_argument("name", nargs="?", default="vm13", metavar="NAME")
    actions.add_parser("list", help="with release, kernel, state and address")
    ssh = actions.add_parser("ssh", help="a shell there, or one command")
    ssh.add_argument("name", metavar="NAME")
    ssh.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    down = actions.add_parser("down", help="remove the hosts named, or all")
    down.add_argument("names", nargs="*", metavar="NAME")


def run(args: argparse.Namespace) -> int:
    return {"up": _up, "vm": _vm, "list": _list, "ssh": _ssh, "down": _down}[args.action](args)


def _lab() -> Lab:
    from infra import health
    from infra.lab import Lab

    return Lab(Site.current(), health.client())


def _up(args: argparse.Namespace) -> int:
    from infra.progress import Progress

    wanted = dict.fromkeys(args.names, args.debian or "13") or {
        f"debian{release}": release for release in RELEASES if args.debian in (None, release)
    }
    lab = _lab()
    with Progress() as progress, progress.step("lab") as say:
        for name, release in wanted.items():
            lab.up(name, say, release=release, systemd=not args.no_systemd)
    return _list(args)


def _vm(args: argparse.Namespace) -> int:
    from infra.progress import Progress

    with Progress() as progress, progress.step("lab") as say:
        _lab().machine(args.name, say)
    return _list(args)


def _list(args: argparse.Namespace) -> int:
    from rich.table import Table

    table = Table("host", "debian", "init", "kernel", "state", "address", box=None, pad_edge=False)
    for host in _lab().hosts():
        init, kernel = "systemd" if host.systemd else "-", "own" if host.own else "shared"
        table.add_row(host.name, host.release, init, kernel, host.state, host.address)
    common.show(table)
    return 0


def _ssh(args: argparse.Namespace) -> int:
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    command = _lab().server(args.name).command(*words, terminal=sys.stdin.isatty())
    return subprocess.run(command).returncode


def _down(args: argparse.Namespace) -> int:
    from infra.progress import Progress

    with Progress() as progress, progress.step("lab") as say:
        removed = _lab().down(say, args.names)
    if unknown := sorted(set(args.names) - set(removed)):
        raise MaiaError(f"there was no {', '.join(unknown)}", where="lab", mend="maia lab list")
    print(f"removed: {', '.join(removed) or 'nothing'}")
    return 0
