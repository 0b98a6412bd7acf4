"""The role users: who is named may administer, who is named no more is out, and the way in for when nobody else can."""

from __future__ import annotations

import dataclasses
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra import ssh
from infra.errors import MaiaError
from infra.ssh import Server
from tests.roles import Target
from tests.system.mutations import until

PASSWORD = secrets.token_urlsafe(16)
SU = """
import os, pty, sys
pid, terminal = pty.fork()
if not pid:
    os.execvp("su", ["su", "breakglass", "--command", "echo entered; read w; echo $w | sudo -S -p '' id -u"])
said = b""
for awaited in (b":", b"entered", b"never said"):
    try:
        while awaited not in said:
            said += os.read(terminal, 1000)
    except OSError:
        break
    os.write(terminal, sys.argv[1].encode() + b"\\n")
print("root" if b"\\r\\n0\\r\\n" in said else "refused")
"""


@dataclasses.dataclass(frozen=True)
class Person:
    name: str
    key: Path

    @property
    def wish(self) -> dict[str, Any]:
        reason = f"on call, ticket {len(self.name)}"
        return {"name": self.name, "reason": reason, "keys": [self.key.with_suffix(".pub").read_text().strip()]}

    def at(self, host: Target) -> Server:
        assert isinstance(host.on, Server)
        return dataclasses.replace(host.on, user=self.name, key=self.key)


def _person(name: str, folder: Path) -> Person:
    ssh.ensure_key(folder / name)
    return Person(name, folder / name)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Person, Person]:
    folder = tmp_path_factory.mktemp("keys")
    return _person("ada", folder), _person("grace", folder)


@pytest.fixture(scope="module")
def hashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the hash of the password."""
    path = tmp_path_factory.mktemp("hash") / "hash"
    command = ["openssl", "passwd", "-6", "-stdin"]
    path.write_text(subprocess.run(command, input=PASSWORD, text=True, capture_output=True, check=True).stdout.strip())
    return path


@pytest.fixture(scope="module")
def staffed(host: Target, people: tuple[Person, Person]) -> Target:
    """The host with both as administrators; who may log in is not this role's."""
    host.sh("sed -i /AllowUsers/d /etc/ssh/sshd_config.d/lab.conf; systemctl reload ssh")
    wish = [each.wish for each in people]
    assert host.apply("users", check=True, users_admins=wish)
    assert host.sh("getent passwd ada grace || true; ls /etc/sudoers.d") == "README\nlab\n", "only looked"
    assert host.apply("users", users_admins=wish)
    return host


@pytest.fixture(scope="module")
def opened(staffed: Target, people: tuple[Person, Person], hashed: Path) -> Target:
    """The same with passwords: for one of them, and for the break-glass account."""
    assert staffed.apply("users", **_all(people, hashed))
    return staffed


def _all(people: tuple[Person, Person], hashed: Path) -> dict[str, Any]:
    first, second = people
    admins = [{**first.wish, "hash_file": str(hashed)}, second.wish]
    return {"users_admins": admins, "users_break_glass_hash": str(hashed)}


def test_an_administrator_logs_in_by_key_and_is_root_by_sudo(staffed: Target, people: tuple[Person, Person]) -> None:
    for person in people:
        assert person.at(staffed).run("sudo", "id", "-u").stdout == "0\n"
    said = staffed.sh("cat /var/log/sudo.log")
    assert "ada" in said
    assert "COMMAND=/usr/bin/id -u" in said
    assert "# ada: on call, ticket 3\n" in staffed.sh("cat /etc/sudoers.d/60-maia")


def test_a_key_that_somebody_added_does_not_stay_and_who_is_named_no_more_is_out(
    staffed: Target, people: tuple[Person, Person], tmp_path: Path
) -> None:
    ada, grace = people
    stranger = dataclasses.replace(ada.at(staffed), key=tmp_path / "other")
    staffed.sh(f"echo '{ssh.ensure_key(stranger.key)}' >>/home/ada/.ssh/authorized_keys")
    assert stranger.run("true").returncode == 0
    away = grace.at(staffed)
    staffed.sh("usermod --append --groups adm grace; touch /home/grace/notes")
    with subprocess.Popen(away.command("sleep", "3600")) as session:
        until(lambda: "sleep" in staffed.sh("ps -u grace -o comm= || true"), "the session has begun")
        assert staffed.apply("users", users_admins=[ada.wish])
        assert session.wait(timeout=60) != 0
    assert stranger.run("true").returncode == 255
    assert away.run("true").returncode == 255
    assert staffed.sh("ps -u grace -o comm= || true") == ""
    assert staffed.sh("id -Gn grace") == "grace maia-former\n"
    assert staffed.sh("ls -A /home/grace/.ssh") == ""
    assert "notes" in staffed.sh("ls /home/grace")
    assert ada.at(staffed).run("sudo", "true").returncode == 0


def test_a_former_administrator_stays_out_whatever_was_opened_meanwhile(
    staffed: Target, people: tuple[Person, Person]
) -> None:
    ada, grace = people
    key = grace.wish["keys"][0]
    staffed.sh("usermod --expiredate '' --shell /bin/bash grace")
    staffed.sh(f"echo '{key}' >/home/grace/.ssh/authorized_keys; chown grace: /home/grace/.ssh/authorized_keys")
    assert grace.at(staffed).run("true").returncode == 0
    assert staffed.apply("users", users_admins=[ada.wish])
    assert grace.at(staffed).run("true").returncode == 255


@pytest.mark.parametrize(
    "wrong", [{"name": "maia"}, {"reason": "two\nlines"}, {"keys": ["ssh-ed25519 AAAAC3\nssh-ed25519 AAAAC3"]}]
)
def test_who_cannot_be_an_administrator_is_refused(
    staffed: Target, people: tuple[Person, Person], wrong: Mapping[str, Any]
) -> None:
    before = staffed.sh("cat /etc/sudoers.d/60-maia; cat /etc/passwd")
    with pytest.raises(MaiaError, match="needs a name of its own"):
        staffed.apply("users", users_admins=[{**people[0].wish, **wrong}])
    assert staffed.sh("cat /etc/sudoers.d/60-maia; cat /etc/passwd") == before


def test_a_hash_that_is_none_is_refused_without_a_word_of_it(
    staffed: Target, people: tuple[Person, Person], tmp_path: Path
) -> None:
    clear = tmp_path / "clear"
    clear.write_text(PASSWORD)
    with pytest.raises(MaiaError, match="must hold one hash") as raised:
        staffed.apply("users", users_admins=[people[0].wish], users_break_glass_hash=str(clear))
    assert PASSWORD not in str(raised.value)


def test_who_is_named_again_is_back_and_with_a_password_sudo_asks_for_it(
    opened: Target, people: tuple[Person, Person]
) -> None:
    ada, grace = people
    assert grace.at(opened).run("sudo", "ls", "/home/grace").stdout == "notes\n"
    assert "a password is required" in ada.at(opened).run("sudo", "-n", "true").stderr
    said = subprocess.run(
        ada.at(opened).command("sudo", "-S", "id", "-u"), input=PASSWORD + "\n", text=True, capture_output=True
    )
    assert said.stdout == "0\n"


def test_the_break_glass_account_opens_at_the_console_alone_and_is_heard(
    opened: Target, people: tuple[Person, Person], hashed: Path
) -> None:
    assert isinstance(opened.on, Server)
    opened.sh("mkdir -p /var/lib/maia/metrics")
    assert opened.on.run("python3", "-c", SU, "wrong").stdout == "refused\n"
    assert opened.sh("journalctl --quiet --identifier=maia-break-glass --output=cat") == ""
    assert opened.on.run("python3", "-c", SU, PASSWORD).stdout == "root\n"
    heard = opened.sh("journalctl --quiet --identifier=maia-break-glass --priority=alert --output=cat")
    assert "the break-glass account was used: su" in heard
    assert "\nmaia_break_glass_used_timestamp_seconds 1" in opened.sh("cat /var/lib/maia/metrics/break-glass.prom")

    line = people[0].wish["keys"][0]
    opened.sh("install -d -m 700 -o breakglass ~breakglass/.ssh")
    opened.sh(f"echo '{line}' >~breakglass/.ssh/authorized_keys")
    over_ssh = dataclasses.replace(people[0].at(opened), user="breakglass")
    assert over_ssh.run("true").returncode == 255, "not over the network"
    opened.sh("sed -i 's/pam_succeed_if.so quiet service != sshd/pam_permit.so/' /etc/pam.d/common-account")
    assert over_ssh.run("true").returncode == 0, "else something other than that rule refused it"
    opened.sh("rm ~breakglass/.ssh/authorized_keys")


def test_the_role_again_changes_nothing_and_touches_nobody_who_is_needed(
    opened: Target, people: tuple[Person, Person], hashed: Path
) -> None:
    opened.sh("pam-auth-update --package --force")  # what the former test took away
    opened.sh("useradd --create-home --shell /bin/bash --groups maia-admins maia; usermod -aG maia-admins deploy")
    opened.sh("install -d -m 700 -o maia /home/maia/.ssh; echo kept >/home/maia/.ssh/authorized_keys")
    look = "getent shadow maia deploy; id -Gn maia; cat /home/maia/.ssh/authorized_keys"
    before = opened.sh(look)
    assert opened.apply("users", **_all(people, hashed)) == []
    assert opened.apply("users", check=True, **_all(people, hashed)) == []
    assert opened.sh(look) == before


def test_no_secret_is_left_or_shown(opened: Target, hashed: Path) -> None:
    assert isinstance(opened.on, Server)
    # By standard input: as a word of the command, sudo itself would log it.
    command = opened.on.command("sudo", "grep", "-rlFf-", "/var/log", "/etc/sudoers.d", "/tmp", "/root", "/home")
    for secret in (PASSWORD, hashed.read_text()):
        said = subprocess.run(command, input=secret, text=True, capture_output=True)
        assert (said.returncode, said.stdout) == (1, ""), said.stderr


def test_without_its_hash_the_break_glass_account_is_locked(opened: Target, people: tuple[Person, Person]) -> None:
    assert isinstance(opened.on, Server)
    assert opened.apply("users", users_admins=[each.wish for each in people])
    assert opened.on.run("python3", "-c", SU, PASSWORD).stdout == "refused\n"


def test_removed_it_leaves_people_without_power(staffed: Target, people: tuple[Person, Person]) -> None:
    assert staffed.apply("users", entry="remove")
    assert staffed.apply("users", entry="remove") == []
    assert people[1].at(staffed).run("sudo", "-n", "true").returncode == 1
    assert staffed.sh("grep -rl --exclude='*.pam-old' maia /etc/pam.d /etc/sudoers.d /etc/logrotate.d || true") == ""
    assert isinstance(staffed.on, Server)
    assert staffed.on.run("sudo", "true").returncode == 0


def test_an_image_gets_the_same(image: Target, people: tuple[Person, Person], hashed: Path) -> None:
    wish = _all(people, hashed)
    assert image.apply("users", **wish)
    assert image.sh("id -Gn ada") == "ada maia-admins\n"
    assert image.sh("cat /home/ada/.ssh/authorized_keys") == people[0].wish["keys"][0] + "\n"
    assert image.sh("getent shadow breakglass | cut -d: -f2") == hashed.read_text() + "\n"
    assert "maia-break-glass" in image.sh("cat /etc/pam.d/common-session")
    assert image.apply("users", **wish) == []
