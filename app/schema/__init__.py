"""The schema of MAIA's data: its versions as SQL, what applies them, and what looks whether they still hold."""
