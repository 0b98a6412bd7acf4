"""The Pulumi program: configuration, plan, resources. ``./maia up`` and plain ``pulumi up`` both run it."""

from __future__ import annotations

import os

import pulumi
from pulumi.runtime import config as engine

from infra.components.appliance import declare
from infra.errors import MaiaError
from infra.hosts import AHEAD
from infra.site import Site
from infra.stack import Stack

# The SDK looks its configuration up in the environment, secrets included: taken in here, so that no program this one
# starts inherits it.
engine.set_all_config(engine.get_config_env(), engine.get_config_secret_keys_env())
for name in ("PULUMI_CONFIG", "PULUMI_CONFIG_SECRET_KEYS"):
    os.environ.pop(name, None)

try:
    stack = Stack(pulumi.get_stack(), Site.current(), ahead=AHEAD in os.environ)
    declare(stack.plan, stack.site, stack.place, ahead=stack.ahead)
except MaiaError as error:
    raise pulumi.RunError(str(error)) from None
