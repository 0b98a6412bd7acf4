"""Which passwords may be set: long enough, and not one that is guessed first (NIST SP 800-63B-4, 3.1.1.2)."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from app.auth.errors import Refused, invalid
from app.auth.passwords import LONGEST, fits, normal

BLOCKLIST = Path(__file__).parent / "blocklist.txt"

_UNLEET = str.maketrans("0134578@$!|", "oieastbasil")
_PASSAGES = ("abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm", "01234567890")


@functools.cache
def blocklist() -> frozenset[str]:
    """Words that are guessed first, in small letters."""
    lines = BLOCKLIST.read_text().splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def refuse_weak(password: str, least: int, context: Iterable[str]) -> None:
    """
    Args:
        least: characters that it must have.
        context: words that a guesser would try because of whom or where it is for.

    Raises:
        Refused: it is too short, too long for bcrypt, not text, or among what is guessed first.
    """
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in password):
        raise invalid("Password holds characters that nobody can type")
    if not fits(password):
        raise invalid(f"Password cannot be longer than {LONGEST} bytes")
    if len(normal(password)) < least:
        raise _weak("length", f"Password should be at least {least} characters")
    if guessed_first(password, context):
        raise _weak("pwned", "Password is one of those that are guessed first, please choose another")


def guessed_first(password: str, context: Iterable[str]) -> bool:
    """Whether it is, but for digits and signs around it or a few letters' disguise, what everybody tries."""
    plain = normal(password).casefold()
    words = {word for text in context for word in _words(text)}
    forms = {plain, plain.translate(_UNLEET)}
    forms |= {re.sub(r"[\W\d_]+$|^[\W\d_]+", "", form) for form in tuple(forms)}
    forms |= {re.sub(r"[\W_]+", "", form) for form in tuple(forms)}
    return any(_common(form, words) for form in forms if form) or _monotone(plain)


def _common(form: str, words: set[str]) -> bool:
    return form in blocklist() or form in words or _monotone(form) or _made_of(form, words | blocklist())


def _monotone(form: str) -> bool:
    """One short piece over and over, or a walk along the alphabet or the keyboard."""
    if any(form == (form[:size] * len(form))[: len(form)] for size in range(1, min(4, len(form) // 2) + 1)):
        return True
    return any(form in passage * 3 or form in passage[::-1] * 3 for passage in _PASSAGES)


def _made_of(form: str, words: set[str]) -> bool:
    """Whether it is one or two of the words with nothing but digits and signs beside them."""
    letters = re.sub(r"[\W\d_]+", "", form)
    if len(letters) < 4:
        return False
    return letters in words or any(
        letters[:cut] in words and letters[cut:] in words for cut in range(3, len(letters) - 2)
    )


def _words(text: str) -> Iterable[str]:
    whole = normal(text).casefold()
    yield whole
    yield re.sub(r"[\W_]+", "", whole)
    yield from (word for word in re.split(r"[\W_\d]+", whole) if len(word) >= 4)


def _weak(reason: str, message: str) -> Refused:
    return Refused(422, "weak_password", message, more={"weak_password": {"reasons": [reason], "message": message}})
