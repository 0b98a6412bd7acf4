"""Recovery points: Postgres, objects, Redis and what makes the stack again, tied by one manifest.

Postgres goes into a pgBackRest repository, all else into a restic one; both stand in the owner's folder and are
encrypted with keys that come from the owner's recovery key.
"""
