"""Runs a Pulumi program by the SDK's executor, with configuration that came through standard input.

The executor wants it, secrets included, as environment variables; set here they are this process's own
and not what the kernel shows of it.
"""

from __future__ import annotations

import json
import os
import runpy
import sys

if __name__ == "__main__":
    os.environ |= json.load(sys.stdin)
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
