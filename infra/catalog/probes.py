"""Health commands that need nothing but bash, which every image over our base has."""

from __future__ import annotations

import shlex

from infra.catalog.model import Health


def http(port: int, path: str, *, status: int = 200, contains: str = "", patience: int = 60) -> Health:
    """Healthy when ``GET path`` on loopback answers ``status`` with a body that holds ``contains``.

    An answer alone proves little: behind a transparent proxy even an address nobody owns answers.
    """
    script = (
        f"exec 3<>/dev/tcp/127.0.0.1/{port}; "
        f"printf 'GET {path} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3; "
        f'answer=$(cat <&3); [[ "$answer" == HTTP/1.?" {status} "* && "$answer" == *{shlex.quote(contains)}* ]]'
    )
    return Health(command=("bash", "-c", script), patience=patience)
