"""Plugins end with the engine that started them, also when it was killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def watch(end: Callable[[], None], parent: int) -> None:
    """Calls ``end`` once this process is no longer a child of ``parent``."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        end()

    threading.Thread(target=look, daemon=True).start()


def kill_self() -> None:
    """Ends this process at once: what it was doing has nobody left to be reported to."""
    os.kill(os.getpid(), signal.SIGKILL)
