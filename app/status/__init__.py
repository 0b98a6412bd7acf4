"""The status page: what runs, how it is, and what left the machine."""
