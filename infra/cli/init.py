"""Make the site folder, the passphrase, the stack and its secrets; `up` does it by itself."""

from __future__ import annotations

import argparse

from infra.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace) -> int:
    from infra import initialise
    from infra.progress import Progress

    stack = common.selected(args)
    assert stack.config  # a wrong stack file is refused before anything is made
    with common.locked(stack, "init"), Progress() as progress:
        with progress.step("engine") as say:
            engine = common.engine(stack, say)
        with progress.step("secrets") as say:
            made = initialise.ensure(stack, engine, say)
    print(f"{stack.file}: {len(made)} secrets made" if made else f"{stack.file}: complete, nothing changed")
    if stack.config.hosts:
        print(f"Its servers must let this key in: {stack.site.key.with_suffix('.pub').read_text().strip()}")
    print(f"Keep a copy of {stack.site.root}: its passphrase opens the secrets of this stack.")
    return 0
