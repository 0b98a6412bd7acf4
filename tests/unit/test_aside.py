"""What comes back of a point alone: how it is called, and which words go together."""

from __future__ import annotations

import pytest

from infra import aside
from infra.cli import main
from infra.errors import MaiaError

POINT = "20260301T120000Z"


def test_what_comes_back_is_called_after_what_it_was_and_the_point() -> None:
    assert aside.default("shop", POINT, "_") == "shop_20260301t120000z"
    long = aside.default("b" * 63, POINT, "-")
    assert len(long) == 63
    assert long.endswith("-20260301t120000z")
    aside.refuse_name(long, bucket=True)


@pytest.mark.parametrize(
    ("name", "bucket"), [("", False), ("ü" * 32, False), ("Album", True), ("al", True), ("a_b", True), ("-ab", True)]
)
def test_what_cannot_be_a_name_is_refused(name: str, *, bucket: bool) -> None:
    with pytest.raises(MaiaError, match="is no name of a"):
        aside.refuse_name(name, bucket=bucket)


@pytest.mark.parametrize("name", ["Sale's", "ü" * 31, "a b"])
def test_a_database_may_have_any_name(name: str) -> None:
    aside.refuse_name(name, bucket=False)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--table", "a.b"), "--table goes with --database"),
        (("--as", "x"), "--as goes with --database or --bucket"),
        (("--database", "a", "--bucket", "abc"), "--database and --bucket are restored one by one"),
        (("--database", "a", "--into", "look"), "--into is for a whole point"),
    ],
)
def test_words_that_do_not_go_together_are_refused(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["restore", *words]) == 1
    assert told in capsys.readouterr().err
