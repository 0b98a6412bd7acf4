"""What to do about what a machine's own programs complain of, where that is known."""

from __future__ import annotations

import re

AGAIN = "mend it and run it again"
KNOWN = (
    (r"No space left on device|don't have enough free space", "free some disk space there, and run it again"),
    (
        r"Could not get lock|Failed to lock|is another process using it",
        "run it again once apt is free there",
    ),
    (
        r"Failed to fetch|Could not resolve|Unable to connect|Could not connect|Cannot initiate the connection"
        r"|Failed to update apt cache|Unable to locate package|No package matching|has no installation candidate",
        "its mirror of packages is not as it should be: run apt-get update there",
    ),
    (
        r"UNREACHABLE|Shared connection|closed by remote host|Broken pipe|Connection (reset|refused)"
        r"|Failed to connect to the host|Connection timed out",
        "run it again, it continues",
    ),
)


def of(said: str) -> str:
    """The mend for a complaint."""
    return next((mend for pattern, mend in KNOWN if re.search(pattern, said)), AGAIN)
