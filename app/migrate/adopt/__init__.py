"""Rows of the application in ``public`` become rows of ``maia``: by maps, compared, and taken back by the same maps."""
