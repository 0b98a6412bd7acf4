"""The Pulumi engine as this appliance uses it: one stack, run as a subprocess, its events turned into progress."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from infra import ages
from infra.errors import MaiaError
from infra.events import Outcome, Watch, plain
from infra.hosts import ADOPT, AHEAD, BRIEFLY
from infra.site import Site
from infra.toolchain.pulumi import Toolchain

Say = Callable[[str], None]

PROJECT = "maia"
NAMESPACE = "secrets:"


class Engine:
    """One stack under ``pulumi``."""

    def __init__(self, toolchain: Toolchain, site: Site, stack: str) -> None:
        self._toolchain = toolchain
        self._site = site
        self.stack = stack

    @property
    def environment(self) -> dict[str, str]:
        """What ``pulumi`` runs with."""
        return os.environ | self._toolchain.environment(self._site, self.stack)

    # -- the stack and its secrets --------------------------------------------------------------------------------

    @property
    def checkpoint(self) -> Path:
        """Where the file backend keeps the stack's state."""
        return self._site.state / ".pulumi" / "stacks" / PROJECT / f"{self.stack}.json"

    def exists(self) -> bool:
        return self.checkpoint.exists()

    def ensure_stack(self) -> None:
        """Make the stack in the backend, once."""
        if not self.exists():
            self._site.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Its stack file may be there already, with values that only the same passphrase opens.
            self._quiet("stack", "init", self.stack)

    def remove_stack(self, *, force: bool = False) -> None:
        """Forget the stack, its state and its stack file; unless forced, there must be no resource left in it."""
        if self.exists():
            self._quiet("stack", "rm", "--yes", "--stack", self.stack, *(["--force"] if force else []))
        book = self._site.state / ".pulumi"
        for kept in ("backups", "history", "locks/organization"):
            shutil.rmtree(book / kept / PROJECT / self.stack, ignore_errors=True)
        for copy in self.checkpoint.parent.glob(f"{self.stack}.json*"):
            copy.unlink()

    def configure(self, key: str, value: str | None, *, path: bool = False) -> None:
        """Set a plain value of the stack file, or remove it where ``value`` is None.

        Args:
            path: the key leads into a mapping.
        """
        where = ["--stack", self.stack, *(["--path"] if path else [])]
        if value is None:
            self._quiet("config", "rm", *where, key)
        else:
            self._quiet("config", "set", *where, "--plaintext", key, value)

    def forget(self, kind: str, name: str) -> None:
        """Take a resource out of the state without touching what it stands for."""
        for resource in self._state().get("resources") or []:
            if resource["urn"].endswith(f"::{name}") and resource["type"].endswith(kind):
                self._quiet("state", "delete", "--yes", "--stack", self.stack, resource["urn"])

    def set_secret(self, name: str, value: str) -> None:
        """Encrypt a value into the stack file; it travels through standard input only."""
        self._quiet("config", "set", "--stack", self.stack, "--secret", NAMESPACE + name, stdin=value)
        ages.note(self._site, self.stack, name)

    def remove_secret(self, name: str) -> None:
        """Take a value out of the stack file."""
        self._quiet("config", "rm", "--stack", self.stack, NAMESPACE + name)

    def secrets(self) -> dict[str, str]:
        """Every secret of the stack file, decrypted; once, while that file and what opens it stay as they are."""
        files = (self._site.stack_file(self.stack), self._site.passphrase)
        as_of = tuple(file.read_bytes() if file.exists() else b"" for file in files)
        return dict(_decrypted(self._toolchain, self._site, self.stack, as_of))

    def decrypt(self) -> dict[str, str]:
        """The same, anew."""
        said = json.loads(self._quiet("config", "--stack", self.stack, "--show-secrets", "--json") or "{}")
        return {key.removeprefix(NAMESPACE): entry["value"] for key, entry in said.items() if key.startswith(NAMESPACE)}

    def outputs(self) -> dict[str, Any]:
        """The outputs of the last update."""
        return dict(json.loads(self._quiet("stack", "output", "--stack", self.stack, "--json")))

    # -- operations -----------------------------------------------------------------------------------------------

    def prepare(self, say: Say, host: str, *, adopt: Collection[str] = ()) -> Outcome:
        """Bring one server to what the program asks for, before anything else is looked at."""
        more = {ADOPT: " ".join(adopt), AHEAD: "1"}
        return self._operate(say, "up", "--yes", "--skip-preview", f"--target=**:Host::{host}", more=more)

    def up(self, say: Say, *, refresh: bool = True, thorough: bool = False, adopt: Collection[str] = ()) -> Outcome:
        """Bring the stack to what the program asks for; with ``refresh``, drift is seen and mended too.

        Args:
            thorough: look at every task of every server's roles, not at its mark alone.
            adopt: servers that may change hands.
        """
        more = {ADOPT: " ".join(adopt), **_brief(thorough)}
        return self._operate(say, "up", "--yes", "--skip-preview", *(["--refresh"] if refresh else []), more=more)

    def preview(self, say: Say, *, refresh: bool = True, thorough: bool = False) -> Outcome:
        """What ``up`` would do."""
        return self._operate(say, "preview", *(["--refresh"] if refresh else []), more=_brief(thorough))

    def refresh(self, say: Say) -> Outcome:
        """Take note of what is really there."""
        return self._operate(say, "refresh", "--yes", "--skip-preview")

    def destroy(self, say: Say, *, but: str = "") -> Outcome:
        """Remove every resource of the stack.

        Args:
            but: a server that stays, because something is still to be removed there.
        """
        return self._operate(say, "destroy", "--yes", "--skip-preview", *([f"--exclude=**:Host::{but}"] if but else []))

    def interrupted(self) -> bool:
        """Whether a killed run left operations unfinished."""
        return bool(self._state().get("pending_operations"))

    def recover(self, say: Say) -> bool:
        """Put right what a killed run left behind in the backend.

        Returns:
            Whether creations were cut short: then there may be things that the state does not know.
        """
        self._release_lock(say)
        pending = self._state().get("pending_operations") or []
        if not pending:
            return False
        say("recovering from an interrupted run")
        with tempfile.TemporaryDirectory() as folder:
            exported = f"{folder}/state.json"
            self._quiet("stack", "export", "--stack", self.stack, "--file", exported)
            # An import leaves pending operations out; what they concerned is found out by the refresh that follows.
            self._quiet("stack", "import", "--stack", self.stack, "--file", exported)
        return any(operation["type"] == "creating" for operation in pending)

    def refuse_elsewhere(self, on: str) -> None:
        """Keep the parts where they are: their data would stay behind.

        Raises:
            MaiaError: the last update left them on another machine than ``on`` (empty: this one).
        """
        resources = self._state().get("resources") or []
        outputs = next((each.get("outputs") or {} for each in resources if each["type"] == "pulumi:pulumi:Stack"), {})
        if outputs.get("running") is not None and (there := str(outputs.get("on", ""))) != on:
            raise MaiaError(
                f"its parts run on {there or 'this machine'}, and their data with them",
                where="maia:on",
                mend=f"put back {there or 'null'}, or give another stack that place",
            )

    def known(self) -> set[str]:
        """The ids of everything in the state."""
        return {resource["id"] for resource in self._state().get("resources") or [] if resource.get("id")}

    def _state(self) -> dict[str, Any]:
        """The latest deployment in the backend, as it is stored."""
        try:
            document = json.loads(self.checkpoint.read_text())
            return dict(document["checkpoint"].get("latest") or {})
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError):
            backup = self.checkpoint.with_suffix(".json.bak")
            raise MaiaError(
                "the state file is damaged",
                where=str(self.checkpoint),
                mend=f"restore it: cp {backup} {self.checkpoint}" if backup.exists() else "restore it from a backup",
            ) from None

    def _release_lock(self, say: Say) -> None:
        locks = self._site.state / ".pulumi" / "locks" / "organization" / PROJECT / self.stack
        stale = False
        for lock in locks.glob("*.json"):
            try:
                pid = int(json.loads(lock.read_text())["pid"])
            except (OSError, ValueError, KeyError, TypeError):
                pid = 0
            if pid and _is_engine(pid):
                raise MaiaError(
                    f"pulumi works on it right now (pid {pid})",
                    where=f"stack {self.stack}",
                    mend="wait for it to end, or stop it with Ctrl-C",
                )
            stale = True
        if stale:
            say("removing the lock of an engine that was killed")
            self._quiet("cancel", "--yes", "--stack", self.stack)

    # -- running the engine ---------------------------------------------------------------------------------------

    def _quiet(self, *arguments: str, stdin: str = "") -> str:
        """Run a short command; returns what it prints."""
        done = subprocess.run(
            [self._toolchain.pulumi, *arguments, "--non-interactive"],
            env=self.environment, input=stdin, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise self._explain(" ".join(arguments[:2]), (done.stderr or done.stdout).splitlines())
        return done.stdout

    def _operate(self, say: Say, verb: str, *arguments: str, more: Mapping[str, str] = {}) -> Outcome:
        watch = Watch(say, acts=verb in ("up", "destroy"))
        errors: list[str] = []
        command: list[str | Path] = [
            self._toolchain.pulumi,
            verb,
            *arguments,
            "--stack",
            self.stack,
            "--json",
            "--non-interactive",
        ]
        environment = self.environment | {"PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "true", **more}
        # A group of its own: Ctrl-C reaches the engine once, through us. Should we be killed, it is told to stop.
        with subprocess.Popen(
            ["setpriv", "--pdeathsig", "INT", "--", *command], env=environment, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        ) as child:  # fmt: skip
            assert child.stdout and child.stderr
            reader = threading.Thread(target=errors.extend, args=(child.stderr,), daemon=True)
            reader.start()
            with _interruptible(child, say):
                for line in child.stdout:
                    watch.see(line)
                code = child.wait()
            reader.join()
        if code:
            watch.outcome.noise += errors
            raise self._failure(verb, watch.outcome)
        return watch.outcome

    def _failure(self, verb: str, outcome: Outcome) -> MaiaError:
        if not outcome.problems:
            return self._explain(verb, outcome.noise)
        (resource, message), *others = outcome.problems
        if also := dict.fromkeys(name for name, _ in others if name and name != resource):
            message += f"; and {', '.join(also)}"
        named = resource in message.partition(": ")[0].split()  # a server's own word of itself
        return MaiaError(message, where="" if named else resource or f"pulumi {verb}")

    def _explain(self, what: str, lines: Sequence[str]) -> MaiaError:
        text = plain(" ".join(lines))
        if "incorrect passphrase" in text:
            return MaiaError(
                "the passphrase does not open the stack's secrets",
                where=str(self._site.passphrase),
                mend="put back the passphrase file that was made with this stack",
            )
        if "snapshot integrity" in text:
            return MaiaError(
                "the state contradicts itself",
                where=str(self.checkpoint),
                mend=f'eval "$(maia env --stack {self.stack})" && pulumi state repair',
            )
        if "could not deserialize" in text or "invalid character" in text or "unexpected end of JSON" in text:
            self._state()  # says which file is damaged
        return MaiaError(text.removeprefix("error: ") or "ended without a word", where=f"pulumi {what}")


@lru_cache(maxsize=4)
def _decrypted(toolchain: Toolchain, site: Site, stack: str, _as_of: tuple[bytes, ...]) -> dict[str, str]:
    return Engine(toolchain, site, stack).decrypt()


def _brief(thorough: bool) -> dict[str, str]:
    return {} if thorough else {BRIEFLY: "1"}


@contextmanager
def _interruptible(child: subprocess.Popen[str], say: Say) -> Iterator[None]:
    """Hand Ctrl-C on to the engine, once, and wait until it has written down where it stopped."""
    try:
        yield
    except KeyboardInterrupt:
        say("stopping: waiting for what is under way")
        child.send_signal(signal.SIGINT)
        try:
            for _ in child.stdout or ():
                pass
            child.wait()
        except KeyboardInterrupt:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        raise


def _is_engine(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name.startswith("pulumi")
    except OSError:
        return False
