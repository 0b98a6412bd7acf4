"""A record of what this program has just brought up."""

from __future__ import annotations

from datetime import UTC, datetime

from infra import releases
from infra.config import PREFIX
from infra.images import store
from infra.prune import folders
from infra.releases import CURRENT, Image, Record, program, version
from infra.site import cache
from infra.stack import Stack


def take(stack: Stack) -> Record:
    """What runs, where this program brought it up."""
    packages = stack.config.packages
    made = sorted({container.image for container in stack.plan.containers} & store.names())
    images = {name: image for name in made if (image := store.lookup(name, store.vendored(), packages))}
    used = (path for path in folders.current(packages) if path.is_relative_to(cache()) and path.exists())
    return Record(
        release=version(),
        tree=program.fingerprint(),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        settings=settings(stack),
        images={name: describe(image) for name, image in images.items()},
        parts={container.part: container.image_id for container in stack.plan.containers},
        cache=sorted(str(path.relative_to(cache())) for path in used),
    )


def describe(image: store.Image) -> Image:
    return Image(
        id=image.id,
        folder=str(image.folder.relative_to(cache())),
        packages=store.packages(image),
        sources=store.sources(image),
    )


def settings(stack: Stack) -> dict[str, object]:
    """The ``maia:`` keys of the stack file."""
    return {key.removeprefix(PREFIX): value for key, value in stack.values.items() if key.startswith(PREFIX)}


def keep(stack: Stack) -> None:
    """Write down that this program's release runs now; what ran before the last upgrade stays the way back."""
    record = take(stack)
    program.keep(stack.site, stack.name, record)
    releases.write(stack.site, stack.name, CURRENT, record)
    program.tidy(stack.site, stack.name)
