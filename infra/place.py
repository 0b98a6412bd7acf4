"""Where the containers of a stack run: on this machine, or on a server that is reached by ssh.

All that is done to the machine beneath them is done by one of three means: a function is carried out there, a Unix
socket of it is met, its Docker is asked.
"""

from __future__ import annotations

import inspect
import json
import os.path
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from infra.errors import MaiaError
from infra.relay import PROGRAM as RELAY
from infra.relay import Relay
from infra.site import Site
from infra.ssh import Server

if TYPE_CHECKING:
    import docker

P = ParamSpec("P")
T = TypeVar("T")

HOME = Path("/var/lib/maia/stacks")
"""On a server, the folder of what its containers mount: one below it for each stack."""
DOCKER = "/var/run/docker.sock"
POSTGRES = ".s.PGSQL.5432"
"""The name of its socket, in a folder of its own."""
UNREACHED = 255
"""The exit code of ssh itself."""
PYTHON = ("-I", "-S", "-c")
CALL = """\
import json, sys, types
order = json.load(sys.stdin)
module = sys.modules[order["module"]] = types.ModuleType(order["module"])
exec(compile(order["source"], order["module"], "exec"), module.__dict__)
try:
    answer = {"value": getattr(module, order["function"])(*order["args"], **order["named"])}
except OSError as error:
    answer = {"errno": error.errno, "said": error.strerror or str(error)}
json.dump(answer, sys.stdout)
"""
"""What carries out a function whose module comes by standard input: its arguments may be secret."""


class Place(ABC):
    """A machine with a Docker."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Of the server; empty for this machine."""

    @property
    @abstractmethod
    def inputs(self) -> Mapping[str, Any]:
        """What a resource must keep to find it again; see `of`."""

    @abstractmethod
    def home(self, site: Site, stack: str) -> Site:
        """Where on it the stack's files, sockets and recovery points lie."""

    @abstractmethod
    def call(self, function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Carry out a function as root of that machine, in one trip.

        Its module imports the standard library only, and what it is given and returns can be written as JSON.

        Raises:
            OSError: the function did.
            MaiaError: it could not be carried out.
        """

    @abstractmethod
    def apart(self, function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """The same in a process of its own, on this machine too."""

    @abstractmethod
    def socket(self, path: str) -> str:
        """The path of a socket here, of the same file name, that leads to the one at ``path`` there."""

    @abstractmethod
    def docker(self, timeout: float | None = 60) -> docker.DockerClient:
        """Its Docker.

        Raises:
            docker.errors.DockerException: it does not answer.
        """


@dataclass(frozen=True)
class Here(Place):
    """This machine."""

    @property
    def name(self) -> str:
        return ""

    @property
    def inputs(self) -> Mapping[str, Any]:
        return {}

    def home(self, site: Site, stack: str) -> Site:
        return site

    def call(self, function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        return function(*args, **named)

    def apart(self, function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        found: T = _carry_out([sys.executable, *PYTHON, CALL], function, args, named, "")
        return found

    def socket(self, path: str) -> str:
        return path

    def docker(self, timeout: float | None = 60) -> docker.DockerClient:
        import docker

        return docker.from_env(timeout=timeout)  # type: ignore[arg-type]  # None: for as long as it takes


HERE: Place = Here()


@dataclass(frozen=True)
class There(Place):
    """A server."""

    server: Server

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def inputs(self) -> Mapping[str, Any]:
        return {"server": self.server.data()}

    def home(self, site: Site, stack: str) -> Site:
        return Site(HOME / stack)

    def call(self, function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        return self.apart(function, *args, **named)

    def apart(self, function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        command = self.server.command(self.server.as_root("python3", *PYTHON, CALL), shared=True)
        found: T = _carry_out(command, function, args, named, self.name)
        return found

    def socket(self, path: str) -> str:
        return _relay(self.server, path).path

    def docker(self, timeout: float | None = 60) -> docker.DockerClient:
        import docker

        return docker.DockerClient(base_url=f"unix://{self.socket(DOCKER)}", timeout=timeout)  # type: ignore[arg-type]


@cache
def _relay(server: Server, path: str) -> Relay:
    command = server.command(server.as_root("python3", *PYTHON, RELAY, path), shared=True)
    return Relay(server.meeting, Path(path).name, command)


def postgres(at: Place, folder: str) -> str:
    """The folder here of a socket that leads to Postgres's in ``folder`` there."""
    return os.path.dirname(at.socket(f"{folder}/{POSTGRES}"))


def of(props: Mapping[str, Any]) -> Place:
    """The place that a resource was made with."""
    server = props.get("server")
    return There(Server.of(server)) if server else HERE


def _lost(name: str, said: str) -> MaiaError:
    if "verification failed" in said:
        what, mend = "shows another key than the pinned one", f"if that is right, say so: maia host trust {name}"
    else:
        what, mend = f"cannot be reached: {said}", "start it, or correct its address in the stack file"
    return MaiaError(what, where=f"server {name}", mend=mend)


def _carry_out(
    command: Sequence[str], function: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any], name: str
) -> Any:
    module = inspect.getmodule(function)
    assert module
    order = {
        "module": module.__name__,
        "source": inspect.getsource(module),
        "function": function.__name__,
        "args": args,
        "named": named,
    }
    done = subprocess.run(command, input=json.dumps(order), capture_output=True, text=True)
    if done.returncode:
        said = " ".join(done.stderr.strip().splitlines()[-1:]) or f"exit code {done.returncode}"
        if name and done.returncode == UNREACHED:
            raise _lost(name, said)
        raise MaiaError(said, where=f"server {name}" if name else function.__name__)
    answer = json.loads(done.stdout)
    if "value" not in answer:
        raise OSError(answer["errno"], answer["said"])
    return answer["value"]
