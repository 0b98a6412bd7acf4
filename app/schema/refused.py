"""What a migration of the schema refuses; apart from what applies it, whose libraries take long to load."""

from __future__ import annotations


class Refused(Exception):
    """The database, or a file of a version, is not as it must be; nothing was changed."""
