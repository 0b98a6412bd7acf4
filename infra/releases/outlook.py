"""What an upgrade would change on a stack, found and told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.table import Table

from infra import releases, schema
from infra.images import store
from infra.images.recipe import load_base
from infra.releases import Record, difference, taking, tracker
from infra.releases.difference import Change, Difference
from infra.site import REPO
from infra.stack import Stack


def ahead(
    stack: Stack, runs: Record, packages: str, images: Mapping[str, store.Image], known: tracker.Data | None
) -> Difference:
    """From what runs to this release, with these images."""
    new = {name: taking.describe(image) for name, image in images.items()}
    after = {container.part: container.image_id for container in stack.planned(packages).containers}
    return Difference(
        release=(runs.release, releases.version()),
        images=difference.images(runs.images, new),
        parts=difference.parts(runs, after),
        settings=difference.settings(releases.folder(stack.site, stack.name, runs), REPO),
        vulnerabilities=_known(known, runs.images, new),
        schema=schema.steps(stack.plan, stack.place, stack.home),
    )


def unchanged(runs: Record, known: tracker.Data | None) -> Difference:
    """Nothing but what is known of what runs."""
    vulnerabilities = _known(known, runs.images, runs.images)
    return Difference(
        release=(runs.release, runs.release), images=[], parts=[], settings={}, vulnerabilities=vulnerabilities
    )


def _known(
    known: tracker.Data | None, before: Mapping[str, releases.Image], after: Mapping[str, releases.Image]
) -> dict[str, Change] | None:
    if known is None:
        return None
    return tracker.changes(known, load_base().suite, before.values(), after.values())


def table(found: Difference) -> Table:
    """The images that become others, and their packages."""
    shown = Table("image", "id", "package", "from", "to", box=None, pad_edge=False)
    for change in found.images:
        ids = " → ".join(each.removeprefix("sha256:")[:12] or "none" for each in change.id)
        shown.add_row(change.image, ids, *([] if change.packages else ["no package", "", ""]))
        for name, (old, new) in change.packages.items():
            shown.add_row("", "", name, old or "-", new or "-")
    return shown


def lines(found: Difference) -> Iterator[str]:
    """All else of it."""
    before, after = found.release
    yield f"release:   {before} → {after}" if before != after else f"release:   {after} stays"
    yield f"parts:     {' '.join(found.parts) or 'none'} get another image"
    yield f"known:     {_vulnerabilities(found)}"
    yield f"schema:    {', '.join(found.schema) or 'no steps'}"
    for key, (old, new) in found.settings.items():
        how = f"new, {new} by default" if not old else "is gone" if not new else f"default {old} → {new}"
        yield f"setting:   {key} {how}"
    if found.resources is not None:
        yield f"resources: {', '.join(f'{count} {what}' for what, count in found.resources.items()) or 'none'}"


def _vulnerabilities(found: Difference) -> str:
    if found.vulnerabilities is None:
        return "vulnerabilities were not looked at: no tracker data (--tracker FILE)"
    pairs = found.vulnerabilities
    fixed = [key for key, (_, new) in pairs.items() if not new]
    come = [key for key, (old, _) in pairs.items() if not old]
    stay = len(pairs) - len(fixed) - len(come)
    return f"{len(fixed)} fixed ({', '.join(fixed) or '-'}), {len(come)} new ({', '.join(come) or '-'}), {stay} stay"
