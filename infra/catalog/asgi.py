"""How the services of MAIA are served."""

from __future__ import annotations


def serve(app: str, port: int, workers: int = 1) -> tuple[str, ...]:
    """The command that serves ``app`` (``module:name``) on all of the container's addresses."""
    return (
        *("python3", "-m", "granian", "--interface", "asgi", *(("--workers", str(workers)) if workers > 1 else ())),
        *("--host", "0.0.0.0", "--port", str(port), "--no-ws", app),
    )
