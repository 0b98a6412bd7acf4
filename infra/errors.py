"""The one error a person is meant to read."""

from __future__ import annotations


class MaiaError(Exception):
    """Something a person can mend; shown as one line, never as a traceback.

    Args:
        what: what is wrong, with the value that was found.
        where: the key, file, container or command it concerns.
        mend: what to do about it, as an instruction.
    """

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        self.what = what
        self.where = where
        self.mend = mend
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.mend})" if self.mend else text
