"""Which passwords may be set: long enough, and not one that is guessed first (NIST SP 800-63B-4, 3.1.1.2)."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path

from app.auth.errors import Refused, invalid
from app.auth.passwords import LONGEST, fits, normal

BLOCKLIST = Path(__file__).parent / "blocklist.txt"

_UNLEET = str.maketrans("0134578@$!|", "oieastbasil")
_PASSAGES = (
    "abcdefghijklmnopqrstuvwxyz",
    "0123456789",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1q2w3e4r5t6y7u8i9o0p",
    "qawsedrftgyhujikolp",
    "qazwsxedcrfvtgbyhnujmikolp",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "147258369",
)
"""Walks along the alphabet and keyboards."""


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
    words = blocklist() | {word for text in context for word in _words(text)}
    forms = {plain, re.sub(r"^[\W\d_]+|[\W\d_]+$", "", plain)}
    forms |= {form.translate(_UNLEET) for form in forms}
    forms |= {re.sub(r"[\W_]+", "", form) for form in forms}
    return any(_walk(form) or _made_of(form, words) for form in forms if form)


def _walk(form: str) -> bool:
    """A short piece over and over, or a walk along the alphabet or a keyboard."""
    piece = _period(form)
    return len(piece) <= 3 or any(piece in passage * 3 or piece in passage[::-1] * 3 for passage in _PASSAGES)


def _made_of(form: str, words: AbstractSet[str]) -> bool:
    """Whether it is one or two of the words, or one over and over, with nothing but digits and signs beside them."""
    letters = _period(re.sub(r"[\W\d_]+", "", form))
    if form in words or letters in words:
        return True
    return any(letters[:cut] in words and letters[cut:] in words for cut in range(3, len(letters) - 2))


def _period(text: str) -> str:
    """The piece that a text is made of by repeating it, which may be the whole."""
    return text[: (text + text).find(text, 1)]


def _words(text: str) -> Iterable[str]:
    whole = normal(text).casefold()
    yield whole
    yield from (re.sub(r"[\W_]+", "", piece) for piece in (whole, *whole.split("@")))
    yield from (word for word in re.split(r"[\W_\d]+", whole) if len(word) >= 4)


def _weak(reason: str, message: str) -> Refused:
    return Refused(422, "weak_password", message, more={"weak_password": {"reasons": [reason], "message": message}})
