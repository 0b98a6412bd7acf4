"""``python -m infra.cli``."""

from __future__ import annotations

import os
import sys

from infra.cli import main

code = main()
sys.stdout.flush()
sys.stderr.flush()
# Not sys.exit: after Ctrl-C or a failure, what other threads still wait for is not waited for.
os._exit(code)
