"""The Pulumi program: configuration, plan, resources. ``./maia up`` and plain ``pulumi up`` both run it."""

from __future__ import annotations

import pulumi

from infra.components.appliance import declare
from infra.errors import MaiaError
from infra.site import Site
from infra.stack import Stack

try:
    declare(Stack(pulumi.get_stack(), Site.current()).plan, Site.current())
except MaiaError as error:
    raise pulumi.RunError(str(error)) from None
