"""The ``maia`` command: one module a verb, each with ``add_arguments(parser)`` and ``run(args) -> int``.

A verb's module is light to import; what it works with, it imports when it runs.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from infra.errors import MaiaError

VERBS = (
    "up", "plan", "preview", "drift", "status", "logs", "restart", "check", "evidence", "doctor", "down", "destroy",
    "backup", "backups", "restore", "drill", "upgrade", "rollback", "maintain", "db", "migrate", "auth",
    "init", "host", "secrets", "images", "prune", "env", "support-bundle", "lab", "test",
)  # fmt: skip

INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise MaiaError(message, mend=f"{self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        The exit code of the process: 1 with one line on standard error for whatever went wrong, 130 when interrupted.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except MaiaError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted (run it again, it continues)")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _fail(_unexpected(error))


def _run(argv: Sequence[str]) -> int:
    top = _Parser(prog="maia", add_help=False, usage="maia [--stack NAME] VERB …")
    top.add_argument("-h", "--help", action="store_true")
    top.add_argument("verb", nargs="?", default="")
    top.add_argument("rest", nargs=argparse.REMAINDER)
    _add_stack(top, os.environ.get("MAIA_STACK", "local"))
    known = top.parse_args(argv)
    if not known.verb:
        print(_help())
        return 0 if known.help else 2
    if known.verb not in VERBS:
        near = difflib.get_close_matches(known.verb, VERBS, n=1)
        raise MaiaError(f"unknown verb {known.verb!r}", mend=f"did you mean {near[0]!r}?" if near else "maia --help")
    module = _module(known.verb)
    stack, rest = _stack_anywhere(known)
    parser = _Parser(prog=f"maia {known.verb}", description=_summary(module))
    _add_stack(parser, stack)
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(["--help"] if known.help else rest)))


def _stack_anywhere(known: argparse.Namespace) -> tuple[str, list[str]]:
    """The stack, wherever it is named (behind an action too, where argparse would not look), and the other words."""
    parser = _Parser(prog=f"maia {known.verb}", add_help=False)
    _add_stack(parser, known.stack)
    found, rest = parser.parse_known_args(known.rest)
    return found.stack, rest


def _add_stack(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--stack", metavar="NAME", default=default, help=f"the stack to work on ({default})")


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"infra.cli.{verb.replace('-', '_')}")


def _summary(module: ModuleType) -> str:
    return (module.__doc__ or "").partition("\n")[0]


def _help() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {_summary(_module(verb))}" for verb in VERBS)
    return (
        "usage: maia [--stack NAME] VERB …\n\nA sovereign appliance on hosts of one's own.\n\n"
        f"{verbs}\n\nmaia VERB --help says more. The stack is 'local' unless --stack or MAIA_STACK names another."
    )


def _fail(line: str) -> int:
    print(f"maia: {line}", file=sys.stderr)
    return 1


def _unexpected(error: Exception) -> str:
    """One line for a fault of ours, with the traceback put where only its owner reads it."""
    with tempfile.NamedTemporaryFile("w", prefix="maia-", suffix=".log", delete=False) as log:
        traceback.print_exception(error, file=log)
    told = " ".join(str(error).split())
    return f"{type(error).__name__}: {told[:200]} (a fault of maia's own: its traceback is in {log.name})"
