"""The engine's door to programs in Python: a Pulumi language host over the SDK's own executor.

The engine starts its launcher, reads a port from the standard output, and calls it over gRPC.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import threading
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import language_pb2 as language
from pulumi.runtime.proto import plugin_pb2 as plugin
from pulumi.runtime.proto.language_pb2_grpc import (
    LanguageRuntimeServicer,
    add_LanguageRuntimeServicer_to_server,
)

from infra.toolchain import orphan

if TYPE_CHECKING:
    from types import FrameType

TOLD = 32  # the executor's exit code once it has shown the person what is wrong
_PROGRAM = Path(__file__).with_name("program.py")
LARGEST = 400 << 20  # bytes of one message; the engine's own bound


class Host(LanguageRuntimeServicer):
    """Runs programs with this very interpreter, one at a time."""

    def __init__(self, engine: str, executor: Path) -> None:
        self._engine = engine
        self._executor = executor
        self._program: subprocess.Popen[str] | None = None
        self._stopping = False

    def stop(self) -> None:
        """Ends the program, if one runs, and lets no other start."""
        self._stopping = True
        self._end_program()

    def Handshake(
        self, request: language.LanguageHandshakeRequest, context: grpc.ServicerContext
    ) -> language.LanguageHandshakeResponse:
        self._engine = request.engine_address or self._engine
        return language.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: object, context: grpc.ServicerContext) -> plugin.PluginInfo:
        return plugin.PluginInfo(version=importlib.metadata.version("pulumi"))

    def About(self, request: language.AboutRequest, context: grpc.ServicerContext) -> language.AboutResponse:
        return language.AboutResponse(executable=sys.executable, version=platform.python_version())

    def GetRequiredPackages(
        self, request: language.GetRequiredPackagesRequest, context: grpc.ServicerContext
    ) -> language.GetRequiredPackagesResponse:
        return language.GetRequiredPackagesResponse(packages=providers())

    def GetProgramDependencies(
        self, request: language.GetProgramDependenciesRequest, context: grpc.ServicerContext
    ) -> language.GetProgramDependenciesResponse:
        return language.GetProgramDependenciesResponse(
            dependencies=[
                language.DependencyInfo(name=found.name, version=found.version)
                for found in importlib.metadata.distributions()
            ]
        )

    def Run(self, request: language.RunRequest, context: grpc.ServicerContext) -> language.RunResponse:
        if self._stopping:
            context.abort(grpc.StatusCode.CANCELLED, "the host is stopping")
        self._program = program = subprocess.Popen(
            [sys.executable, "-u", "-P", _PROGRAM, self._executor, *self._arguments(request)],
            stdin=subprocess.PIPE,
            text=True,
        )
        assert program.stdin
        with contextlib.suppress(BrokenPipeError), program.stdin as pipe:
            json.dump(
                {
                    "PULUMI_CONFIG": json.dumps(dict(request.config)),
                    "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
                },
                pipe,
            )
        context.add_callback(self._end_program)
        code = program.wait()
        if code == TOLD:
            return language.RunResponse(bail=True)
        return language.RunResponse(error=f"the program ended with exit code {code}" if code else "")

    def Cancel(self, request: object, context: grpc.ServicerContext) -> Empty:
        self.stop()
        return Empty()

    def _end_program(self) -> None:
        if self._program and self._program.poll() is None:
            self._program.terminate()

    def _arguments(self, request: language.RunRequest) -> list[str]:
        named = {
            "monitor": request.monitor_address,
            "engine": self._engine,
            "project": request.project,
            "stack": request.stack,
            "organization": request.organization or "organization",
            "root_directory": request.info.root_directory,
            "pwd": request.pwd,
            "parallel": request.parallel,
            "dry_run": str(request.dryRun).lower(),
        }
        program = Path(request.info.program_directory, request.info.entry_point)
        return [*(f"--{name}={value}" for name, value in named.items()), str(program), *request.args]


def providers() -> list[plugin.PackageDependency]:
    """The resource plugins that the installed SDKs ask for."""
    found = []
    for distribution in importlib.metadata.distributions():
        if not distribution.name.startswith("pulumi"):
            continue
        for file in distribution.files or ():
            if file.name == "pulumi-plugin.json":
                said = json.loads(Path(str(file.locate())).read_text())
                if said.get("resource"):
                    found.append(
                        plugin.PackageDependency(
                            name=said["name"], kind="resource", version=said.get("version", distribution.version)
                        )
                    )
    return found


def main() -> None:
    engine = next((word for word in reversed(sys.argv[2:]) if not word.startswith("-")), "")
    host = Host(engine, Path(sys.argv[1]))
    sizes = [("grpc.max_receive_message_length", LARGEST), ("grpc.max_send_message_length", LARGEST)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=sizes)
    add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        host.stop()
        ended.set()

    # By SIGINT the engine ends its plugins.
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    server.start()
    orphan.watch(lambda: end(signal.SIGTERM, None), os.getppid())
    print(port, flush=True)
    ended.wait()
    server.stop(grace=1).wait()


if __name__ == "__main__":
    main()
