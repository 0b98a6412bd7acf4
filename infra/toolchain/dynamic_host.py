"""The plugin of dynamic providers: the SDK's own, which ends with the engine."""

from __future__ import annotations

import os
import runpy

from infra.toolchain import orphan

if __name__ == "__main__":
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"  # what is started by a fork here is another program at once
    orphan.watch(orphan.kill_self, os.getppid())
    runpy.run_module("pulumi.dynamic", run_name="__main__", alter_sys=True)
