"""The services of MAIA."""
