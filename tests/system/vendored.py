"""Builds one image of packages, wheels and a Go program: ``python -m tests.system.vendored online|offline FOLDER``.

Online it fills the folder, offline the folder is all there is. Prints the image's id.
"""

from __future__ import annotations

import sys
from pathlib import Path

from infra.images import build, store, vendor
from infra.images.recipe import Recipe
from infra.toolchain import tools
from infra.toolchain.build import Tool

NAME = "vendor-test"
HELLO = Tool(name="hello", version="1", module=Path(__file__).parent / "hello", package=".")
RECIPE = Recipe.model_validate(
    {
        "name": NAME,
        "description": "packages, wheels and a Go program",
        "user": {"name": "vendor-test", "uid": 799, "gid": 799},
        "packages": ["python3"],
        "tools": ["hello"],
        "python": {"lock": "app/requirements.lock", "trees": ["app"]},
        "env": {"PYTHONPATH": "/opt/maia/lib"},
        "cmd": ["hello"],
    }
)


def main() -> None:
    kind, folder = sys.argv[1], Path(sys.argv[2])
    tools.ALL = (*tools.ALL, HELLO)  # type: ignore[assignment]
    store.load_all = lambda *_: {NAME: RECIPE}  # type: ignore[attr-defined]

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    if kind == "online":
        vendor.vendor(folder, say, [NAME])
    image = build.build([NAME], say, vendor=folder if kind == "offline" else None)[NAME]
    print(image.id, image.archive)


if __name__ == "__main__":
    main()
