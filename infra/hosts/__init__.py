"""Servers: reached, looked at, taken over, and brought to what the plan says of them."""

BRIEFLY = "MAIA_BRIEFLY"
"""In the engine's environment: a look at a server stops at its mark, where nothing that feeds its roles has changed."""
AHEAD = "MAIA_AHEAD"
"""The same: servers are prepared, and nothing else is looked at."""
ADOPT = "MAIA_ADOPT"
"""The same: names the servers that may change hands in this run."""
