"""Vectors of real sentences, by a model that a package ships: ``python tests/bench/sentences.py COUNT FILE``.

The sentences are those of the documentation in Python's own library and in what is installed beside it, in the order
of the files. The model (wordllama) is a table of a vector for each piece of a word, of which a sentence has the mean:
as small as such models are, and real in what makes a search hard, which is how the vectors lie.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

DIMENSIONS = 256
PACKAGE = "wordllama==0.4.0.post1"
SHORTEST, LONGEST = 30, 300
"""Letters of a sentence."""
ENDS = re.compile(r"(?<=[.!?])\s+(?=[A-Z])|\n\s*\n")


def vectors(count: int) -> list[array[float]]:
    """The first so many; the package is installed for this alone, in a folder that is removed."""
    with tempfile.TemporaryDirectory(prefix="maia-bench-") as folder:
        home, file = Path(folder) / "packages", Path(folder) / "vectors"
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(home), PACKAGE]
        subprocess.run(install, check=True)
        subprocess.run(
            [sys.executable, "-W", "ignore", __file__, str(count), str(file)],
            check=True,
            env={**os.environ, "PYTHONPATH": str(home)},
        )
        whole = array("f", file.read_bytes())
    found = [whole[at : at + DIMENSIONS] for at in range(0, len(whole), DIMENSIONS)]
    if len(found) < count:
        raise SystemExit(f"there are {len(found)} sentences on this machine, not {count}")
    return found


def sentences() -> Iterator[str]:
    """Each once."""
    seen: set[str] = set()
    for name in ("stdlib", "purelib"):
        for file in sorted(Path(sysconfig.get_path(name)).rglob("*.py")):
            for sentence in _documentation(file):
                if SHORTEST <= len(sentence) <= LONGEST and sentence not in seen:
                    seen.add(sentence)
                    yield sentence


def _documentation(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (" ".join(part.split()) for part in ENDS.split(ast.get_docstring(node) or ""))


def main(count: str, file: str) -> None:
    import wordllama  # type: ignore[import-not-found]

    # Its own folder as cache: it looks for its tokenizer in another one than where its package has it.
    model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    model.embed(list(islice(sentences(), int(count))), norm=True).tofile(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
