"""Pulumi resources: what carries the plan out."""

from __future__ import annotations

import os

# The state knows a provider by its module's name. Where a release goes back to the one before it, what only the later
# one has is removed by the later one's module.
if later := os.environ.get("MAIA_LATER"):
    __path__.append(f"{later}/infra/components")
