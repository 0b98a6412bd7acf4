"""Accounts, how they log in, and what they may."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from checks.look.means import ROOT, Ask, lines, read, run, settings

MODULES = {
    "pwquality": ("etc/security/pwquality.conf.d/*.conf", "etc/security/pwquality.conf"),
    "faillock": ("etc/security/faillock.conf",),
    "pwhistory": ("etc/security/pwhistory.conf",),
}
"""Of PAM, with the files of their settings in the order in which they read them."""
HASHES = {"y": "yescrypt", "gy": "yescrypt", "6": "sha512", "5": "sha256", "1": "md5", "2b": "bcrypt"}


def _rows(path: str) -> list[list[str]]:
    return [line.split(":") for line in read(path).splitlines() if line and not line.startswith(("#", "+", "-"))]


def _kept(password: str) -> str:
    """How a password is kept, never the password."""
    if not password:
        return "empty"
    if password.startswith(("!", "*")):
        return "locked"
    parts = password.split("$")
    return HASHES.get(parts[1], "unknown") if len(parts) > 2 else "old"


def accounts(ask: Ask) -> Any:
    users, groups = _rows("/etc/passwd"), _rows("/etc/group")
    shadow = {row[0]: row for row in _rows("/etc/shadow")}
    return {
        "users": [
            {
                "name": row[0], "uid": int(row[2]), "gid": int(row[3]), "home": row[5], "shell": row[6],
                "shadowed": row[1] == "x",
                "password": _kept(shadow[row[0]][1]) if row[0] in shadow else "absent",
                "changed": shadow.get(row[0], [""] * 9)[2], "most": shadow.get(row[0], [""] * 9)[4],
                "inactive": shadow.get(row[0], [""] * 9)[6],
            }
            for row in users
        ],
        "groups": {row[0]: {"gid": int(row[2]), "members": row[3].split(",") if row[3] else []} for row in groups},
        "twice": sorted(
            f"{what} {value}"
            for what, values in (
                ("user", [row[0] for row in users]), ("uid", [row[2] for row in users]),
                ("group", [row[0] for row in groups]), ("gid", [row[2] for row in groups]),
            )
            for value, number in Counter(values).items() if number > 1
        ),
        "homes": {row[0]: _home(Path(row[5]), int(row[2])) for row in users if int(row[2]) >= 1000 or row[2] == "0"},
        "shells": list(lines("etc/shells")),
    }  # fmt: skip


def _home(home: Path, uid: int) -> list[str]:
    """What is not as it should be with a home and the files in it that programs read."""
    try:
        found = (ROOT / str(home).lstrip("/")).stat()
    except OSError:
        return ["absent"]
    wrong = [text for text, holds in (("another's", found.st_uid != uid), ("open", found.st_mode & 0o027)) if holds]
    for path in Path(ROOT / str(home).lstrip("/")).glob(".*"):
        each = path.lstat()
        if path.is_symlink() or path.is_dir():
            continue
        most = 0o600 if path.name in (".netrc", ".bash_history") else 0o644
        if each.st_mode & 0o777 & ~most or each.st_uid != uid:
            wrong.append(path.name)
        if path.name in (".rhosts", ".forward"):
            wrong.append(f"{path.name} exists")
    return wrong


def login(ask: Ask) -> Any:
    """How sessions begin: settings of logins, and what a login shell of root's has."""
    shell = run("env", "-i", "HOME=/root", "TERM=dumb", "bash", "-l", "-c",
                'printf "%s\\n" "$PATH" "$(umask)" "${TMOUT-}" "$(readonly -p | grep -c TMOUT)"')  # fmt: skip
    path, mask, timeout, fixed = (*shell.splitlines()[-4:], "", "", "", "")[:4]
    found = {"definitions." + name: value for name, value in settings("etc/login.defs").items()}
    found |= {"new." + name: value for name, value in settings("etc/default/useradd").items()}
    limits = [line.split() for line in lines("etc/security/limits.conf", "etc/security/limits.d/*.conf")]
    return {
        **found,
        "path": [f"{each} {_beyond(each)}" for each in path.split(":") if _beyond(each)],
        "umask": mask[-3:],
        "timeout": timeout,
        "timeout-fixed": fixed,
        "core": next((words[3] for words in reversed(limits) if words[:3] == ["*", "hard", "core"]), ""),
    }


def _beyond(folder: str) -> str:
    if not folder.startswith("/"):
        return "is no folder of its own"
    try:
        found = os.stat(folder)
    except OSError:
        return ""
    return "is another's" if found.st_uid else "is open to others" if found.st_mode & 0o022 else ""


def pam(ask: Ask) -> Any:
    """By service, ``type control module arguments`` lines; by module, its settings, as arguments or from its files."""
    found: dict[str, Any] = {
        name: [" ".join(line.split()) for line in lines(f"etc/pam.d/{name}")]
        for name in ("common-auth", "common-account", "common-password", "common-session", "su")
    }
    stacked = [line.split() for each in found.values() for line in each]
    for name, files in MODULES.items():
        told = [
            word for words in stacked if f"pam_{name}.so" in words for word in words[words.index(f"pam_{name}.so") :]
        ]
        arguments = (word.partition("=")[::2] for word in told[1:])
        found[name] = settings(*files) | {key: value or "yes" for key, value in arguments}
    return found


def sudo(ask: Ask) -> Any:
    drops = [path.name for path in sorted(ROOT.glob("etc/sudoers.d/*"))]
    read_by_it = [name for name in drops if "." not in name and not name.endswith("~")]
    checked = run("visudo", "-c")
    return {
        "valid": "parsed OK" in checked and "error" not in checked,
        "lines": [
            " ".join(line.split()) for line in lines("etc/sudoers", *(f"etc/sudoers.d/{name}" for name in read_by_it))
        ],
    }


LOOKS = {"accounts": accounts, "login": login, "pam": pam, "sudo": sudo}
