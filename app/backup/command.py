"""The tools, run as programs: their last words are the error."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

Say = Callable[[str], None]

LINES = 6
"""How many of a failed program's last lines are told."""


class Failed(Exception):
    """Something did not work; one line that says what."""


class Exited(Failed):
    """A program ended with an exit code that is a failure."""

    def __init__(self, program: str, code: int, lines: Sequence[str]) -> None:
        super().__init__(f"{program}: {' | '.join(lines) or f'exit code {code}'}")
        self.code = code
        self.lines = lines
        """Its last ones."""


def run(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    say: Say | None = None,
    codes: Sequence[int] = (0,),
    user: str | None = None,
    env: Mapping[str, str] | None = None,
    patience: float | None = None,
) -> str:
    """Run it to its end.

    Args:
        stdin: text for its standard input; the only way in for a secret.
        say: told each line as it comes.
        codes: exit codes that are no failure.
        user: whom to run it as, with that user's group alone.
        env: its environment, instead of this one.
        patience: seconds after which it is killed, which is a failure; not together with ``say``.

    Returns:
        What it wrote to standard output.

    Raises:
        Exited: another exit code, with the last lines of standard error, or of the output where that is empty.
    """
    process = subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if say is None else subprocess.STDOUT,
        text=True,
        errors="replace",
        user=user,
        group=user,
        extra_groups=[] if user else None,
        env=env,
    )
    if say is None:
        try:
            out, err = process.communicate(stdin, patience)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
    else:
        assert process.stdout
        kept = []
        for line in process.stdout:
            kept.append(line)
            say(line.strip())
        process.wait()
        out, err = "".join(kept), ""
    if process.returncode not in codes:
        raise _failed(command, err or out, process.returncode)
    return out


def lines(command: Sequence[str | Path]) -> Iterator[str]:
    """Run it, and yield what it writes as it comes.

    Raises:
        Failed: at its end, as of ``run``.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as told:
        with subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout
            yield from process.stdout
        if process.returncode:
            told.seek(0)
            raise _failed(command, told.read(), process.returncode)


def _failed(command: Sequence[str | Path], told: str, code: int) -> Exited:
    last = [line.strip() for line in told.splitlines() if line.strip()][-LINES:]
    return Exited(f"{Path(command[0]).name} {command[1]}", code, last)
