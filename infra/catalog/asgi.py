"""How the services of MAIA are served."""

from __future__ import annotations


def serve(app: str, port: int, workers: int = 1) -> tuple[str, ...]:
    """The command that serves ``app`` (``module:name``) on all of the container's addresses."""
    # A worker that is told to end while it begins does not: its server would wait for it for ever.
    several = ("--workers", str(workers), "--workers-kill-timeout", "8") if workers > 1 else ()
    return (
        *("python3", "-m", "granian", "--interface", "asgi", *several),
        *("--host", "0.0.0.0", "--port", str(port), "--no-ws", app),
    )
