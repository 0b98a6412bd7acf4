"""Changes to a server, one for each check of it, each undone afterwards: in a test host, or else in the facts.

What a change in a test host is made of is a shell script of root's; `keep` and `undo` in it say how it is undone.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping

from checks import hostrules
from checks.wishes import Wish, wishes

WISHES: Mapping[str, Wish] = {wish.rule: wish for wish in wishes()}
MEANS = r"""
undo() { printf '%s\n' "$*" >> /run/maia-undo; }
keep() {
  if [ -e "$1" ]; then n=$(mktemp -u -p /run maia-kept.XXXXXX); cp -a "$1" "$n"; undo "rm -rf '$1'; mv '$n' '$1'"
  else undo "rm -rf '$1'"; fi
}
put() { keep "$1"; mkdir -p "$(dirname "$1")"; cat > "$1"; chmod "${2:-644}" "$1"; }
edit() { keep "$2"; sed -i -E "$1" "$2"; }
"""
UNDO = (
    "if [ -e /run/maia-undo ]; then tac /run/maia-undo > /run/maia-undoing; rm /run/maia-undo; . /run/maia-undoing; fi"
)
SSHD = {
    "allowagentforwarding": "yes", "allowtcpforwarding": "yes", "banner": "none",
    "ciphers": "aes256-ctr,aes128-cbc", "clientalivecountmax": "0", "clientaliveinterval": "0",
    "disableforwarding": "no", "gssapiauthentication": "yes", "hostbasedauthentication": "yes",
    "hostkeyalgorithms": "ssh-ed25519,ssh-rsa", "ignorerhosts": "no", "kbdinteractiveauthentication": "yes",
    "kexalgorithms": "sntrup761x25519-sha512@openssh.com,ecdh-sha2-nistp256", "logingracetime": "600",
    "loglevel": "QUIET", "macs": "hmac-sha1", "maxauthtries": "20", "maxsessions": "100",
    "maxstartups": "100:30:200", "passwordauthentication": "yes", "permitemptypasswords": "yes",
    "permitrootlogin": "yes", "permittunnel": "yes", "permituserenvironment": "yes",
    "pubkeyacceptedalgorithms": "ssh-ed25519,ssh-rsa", "strictmodes": "no", "usepam": "no", "x11forwarding": "yes",
}  # fmt: skip
"""What the daemon is told instead."""
LAST = {"maxstartups"}
"""Of these it takes the last word, of all others the first."""
NOT_THERE = (("packages", "at"), ("packages", "cron"))
"""What no test host has."""
STATUS = "/var/lib/dpkg/status"
LOGIN = {
    "core": "put /etc/security/limits.d/zz-mutation.conf <<< '* hard core unlimited'",
    "encrypt-method": "edit 's/^ENCRYPT_METHOD.*/ENCRYPT_METHOD MD5/' /etc/login.defs",
    "hash-cost": "edit 's/^YESCRYPT_COST_FACTOR.*/YESCRYPT_COST_FACTOR 1/' /etc/login.defs",
    "hash-rounds": "edit 's/^SHA_CRYPT_MIN_ROUNDS.*/SHA_CRYPT_MIN_ROUNDS 1000/' /etc/login.defs",
    "inactive": "keep /etc/default/useradd; echo INACTIVE=999 >> /etc/default/useradd",
    "pass-max-days": "edit 's/^PASS_MAX_DAYS.*/PASS_MAX_DAYS 99999/' /etc/login.defs",
    "pass-min-days": "edit 's/^PASS_MIN_DAYS.*/PASS_MIN_DAYS 0/' /etc/login.defs",
    "pass-warn-age": "edit 's/^PASS_WARN_AGE.*/PASS_WARN_AGE 1/' /etc/login.defs",
    "path": "mkdir -m 777 /opt/open; undo rmdir /opt/open; put /etc/profile.d/zz-a.sh <<< 'PATH=$PATH:/opt/open'",
    "umask": "put /etc/profile.d/zz-a.sh <<< 'umask 000'",
    "umask-new": "edit 's/^UMASK.*/UMASK 022/' /etc/login.defs",
}
QUALITY = {"characters": "difok = 0", "dictionary": "dictcheck = 0",
           "enforced": "enforcing = 0", "length": "minlen = 6", "repeats": "maxrepeat = 0",
           "sequences": "maxsequence = 0"}  # fmt: skip
PAM = {
    **{
        f"quality-{name}": f"keep /etc/security/pwquality.conf; echo '{line}' >> /etc/security/pwquality.conf"
        for name, line in QUALITY.items()
    },
    "faillock-deny": "keep /etc/security/faillock.conf; echo 'deny = 50' >> /etc/security/faillock.conf",
    "faillock-unlock": "keep /etc/security/faillock.conf; echo 'unlock_time = 5' >> /etc/security/faillock.conf",
    "unix-empty": "edit 's/(pam_unix.so.*)/\\1 nullok/' /etc/pam.d/common-auth",
    "unix-remember": "edit 's/(pam_unix.so.*)/\\1 remember=5/' /etc/pam.d/common-password",
}
SYSTEMD = {
    "coredump-storage": ("coredump", "Coredump", "Storage=external"),
    "coredump-size": ("coredump", "Coredump", "ProcessSizeMax=2G"),
    "journal-compress": ("journald", "Journal", "Compress=no"),
    "journal-forward": ("journald", "Journal", "ForwardToSyslog=yes"),
    "journal-size": ("journald", "Journal", "SystemMaxUse="),
    "journal-storage": ("journald", "Journal", "Storage=volatile"),
}
APT = {
    "lists": 'APT::Periodic::Update-Package-Lists "0";',
    "security": "#clear Unattended-Upgrade::Origins-Pattern;",
    "unattended": 'APT::Periodic::Unattended-Upgrade "0";',
    "weak-recommends": 'APT::Install-Recommends "true";',
    "weak-suggests": 'APT::Install-Suggests "true";',
}
DOCKER = {
    "bridge": '"icc": true', "debug": '"debug": true', "hosts": '"hosts": ["tcp://127.0.0.1:2375"]',
    "iptables": '"iptables": false', "level": '"log-level": "fatal"', "log-size": '"log-opts": {"max-file": "3"}',
    "log-files": '"log-opts": {"max-size": "10m"}', "no-new-privileges": '"no-new-privileges": false',
    "plain-registries": '"insecure-registries": ["192.0.2.1"]', "profile": '"seccomp-profile": "/none.json"',
    "proxy": '"userland-proxy": true', "ulimits": '"default-ulimits": null',
}  # fmt: skip
ACCOUNTS = {
    "uid-zero": "echo 'toor:x:0:1:::/usr/sbin/nologin' >> /etc/passwd",
    "gid-zero": "echo 'wheel:x:1999:0:::/usr/sbin/nologin' >> /etc/passwd; echo 'wheel:!:1::::::' >> /etc/shadow",
    "group-zero": "echo 'toor:x:0:' >> /etc/group",
    "passwords": "sed -i 's/^games:[^:]*:/games::/' /etc/shadow",
    "shadowed": "sed -i 's/^games:x:/games:*:/' /etc/passwd",
    "hashes": "sed -i 's/^games:[^:]*:/games:$1$a$bcdef:/' /etc/shadow",
    "unique": "echo 'again:x:1:1:::/usr/sbin/nologin' >> /etc/passwd; echo 'again:!:1::::::' >> /etc/shadow",
    "groups": "echo 'lost:x:1998:31998:::/usr/sbin/nologin' >> /etc/passwd; echo 'lost:!:1::::::' >> /etc/shadow",
    "shadow-group": "sed -i 's/^shadow:x:42:.*/shadow:x:42:games/' /etc/group",
    "system-shells": "sed -i 's#^games:\\(.*\\):/usr/sbin/nologin$#games:\\1:/bin/sh#' /etc/passwd",
    "system-locked": "sed -i 's/^games:[^:]*:/games:$y$a$b$c:/;s/^\\(games:.*\\):99999:/\\1:90:/' /etc/shadow",
    "root-password": "sed -i 's/^root:[^:]*:/root:$y$a$b$c:/;s/^\\(root:.*\\):99999:/\\1:90:/' /etc/shadow",
    "changed": "sed -i 's/^games:\\([^:]*\\):[0-9]*:/games:\\1:99000:/' /etc/shadow",
    "ends": "sed -i 's/^deploy:[^:]*:/deploy:$y$a$b$c:/' /etc/shadow",
    "homes": "chmod o+w /home/deploy; undo chmod o-w /home/deploy",
    "shells": "echo /usr/sbin/nologin >> /etc/shells",
    "docker-group": "sed -i 's/^docker:\\(.*\\):[^:]*$/docker:\\1:games/' /etc/group",
}
ALSO: Mapping[str, set[str]] = {
    "account.uid-zero": {"account.unique", "account.passwords"},
    "account.group-zero": {"account.unique"},
    "account.hashes": {"account.system-locked", "account.ends"},
    "account.passwords": {"account.system-locked"},
    "pam.history": {"pam.history-authtok", "pam.history-remember", "pam.history-root"},
    "pam.unix": {"pam.unix-authtok", "pam.unix-hash"},
    "sysctl.net.ipv6.conf.all.forwarding": {"sysctl.net.ipv6.conf.default.forwarding"},
}
"""What a change turns red beside its own check, in the same group."""
FILTER = {
    "drop-input": "nft chain inet maia input '{ policy accept; }'",
    "drop-output": "nft chain inet maia output '{ policy accept; }'",
    "drop-forward": "nft chain inet maia forward '{ policy accept; }'",
    "loopback": "nft -a list chain inet maia input | sed -n 's/.*ip saddr 127.* handle //p' | "
    "xargs -n1 nft delete rule inet maia input handle",
    "established": "nft -a list chain inet maia output | sed -n 's/.*established.* handle //p' | "
    "xargs -n1 nft delete rule inet maia output handle",
    "logged": "nft flush chain inet maia refuse_through",
    "opened": "nft add rule inet maia input tcp dport 4444 accept",
}
TREE = {
    "open-files": "put /opt/open 666 <<< x",
    "orphans": "put /opt/lost <<< x; chown 31999 /opt/lost",
    "raised": "keep /opt/raised; cp /bin/true /opt/raised; chmod 4755 /opt/raised",
    "logs": "put /var/log/shown.log 644 <<< x",
}
UNITS = {
    "bluetooth": "put /etc/systemd/system/bluetooth.service <<< '[Install]\nWantedBy=multi-user.target\n[Service]\n"
    "ExecStart=/bin/true'; systemctl daemon-reload; systemctl enable -q bluetooth; undo systemctl daemon-reload; "
    "undo systemctl disable -q bluetooth",
    "debug-shell": "systemctl enable -q debug-shell; undo systemctl disable -q debug-shell",
    "docker": "systemctl disable -q docker; undo systemctl enable -q docker",
    "integrity": "systemctl disable -q maia-integrity.timer; undo systemctl enable -q maia-integrity.timer",
    "nftables": "systemctl disable -q maia-firewall; undo systemctl enable -q maia-firewall",
    "updates": "systemctl disable -q apt-daily-upgrade.timer; undo systemctl enable -q apt-daily-upgrade.timer",
}
INTEGRITY = {
    "audit-tools": "edit '/auditctl/d' /etc/aide/aide.conf",
    "programs": "edit '/^\\/usr /d' /etc/aide/aide.conf",
    "settings": "edit '/^\\/etc /d' /etc/aide/aide.conf",
    "sums": "edit 's/^(Kept = .*)\\+sha512/\\1/' /etc/aide/aide.conf",
}
SUDO = {
    **{
        name: f"for f in /etc/sudoers /etc/sudoers.d/*; do edit '/^Defaults.*{word}/d' $f; done"
        for name, word in {"log": "(logfile|syslog)", "terminal": "use_pty", "timeout": "timestamp_timeout"}.items()
    },
    "again": "put /etc/sudoers.d/zz-mutation 440 <<< 'Defaults !authenticate'",
    "password": "put /etc/sudoers.d/zz-mutation 440 <<< 'games ALL=(ALL) NOPASSWD: ALL'",
    "valid": "put /etc/sudoers.d/zz-mutation 440 <<< 'no such thing'",
}


LINES: Mapping[str, Callable[[Wish], str]] = {
    "audit": lambda wish: "/etc/audit/rules.d",
    "pam": lambda wish: f"/etc/pam.d/{wish.fact[1]}",
}
"""Where the lines are that wishes of a group ask for."""


def _spoiled(wish: Wish) -> str:
    """An edit after which no line is any more like what the wish asks for."""
    python = (
        "import re, sys; text = open(sys.argv[2]).read().splitlines(True); "
        "spoil = lambda found: found[0][:-1] + '_' + found[0][-1]; "
        "open(sys.argv[2], 'w').writelines(re.sub(sys.argv[1], spoil, line) for line in text)"
    )
    words = f"python3 -c {shlex.quote(python)} {shlex.quote(wish.asked['some'])} $f"
    return f"for f in $(find {LINES[wish.group](wish)} -type f); do keep $f; {words}; done"


def _sysctl(wish: Wish) -> str:
    bad = 0 if wish.asked.get("is", 1) else 1
    name = wish.name
    return f'undo sysctl -qw {name}="$(sysctl -n {name})"; sysctl -qw {name}={bad}'


def _package(wish: Wish) -> str:
    if "present" in wish.asked:
        gone = "/,/^$/s/^Status: .*/Status: deinstall ok config-files"
        return f"edit '/^Package: {re.escape(wish.name)}${gone}/' {STATUS}"
    fields = f"Package: {wish.name}\\nStatus: install ok installed\\nArchitecture: all\\nVersion: 1\\n"
    return f"keep {STATUS}; printf '{fields}Maintainer: a <a@b>\\nDescription: a\\n\\n' >> {STATUS}"


def _file(wish: Wish) -> str:
    """The first that the pattern matches, made where there is none, open to all."""
    pattern = str(wish.fact[1])
    made = pattern.replace("*", "mutation")
    return (
        f"found=$(ls -d {pattern} 2>/dev/null | head -n 1) || true; "
        f'if [ -z "$found" ]; then put {made} 666 <<< x; else '
        'undo "chmod $(stat -c %a "$found") $found"; chmod o+w "$found"; fi'
    )


def _changes() -> Iterator[tuple[str, str]]:
    for wish in WISHES.values():
        match wish.group:
            case "sshd" if wish.name in SSHD:
                line, first = f"{wish.name} {SSHD[wish.name]}", wish.name not in LAST
                yield wish.rule, f"put /etc/ssh/sshd_config.d/{'00-0' if first else 'zz'}.conf 600 <<< '{line}'"
            case "sysctl" if wish.needs != "kernel":
                yield wish.rule, _sysctl(wish)
            case "audit" | "pam" if "some" in wish.asked and wish.needs != "kernel" and wish.name != "immutable":
                yield wish.rule, _spoiled(wish)
            case "packages" if wish.needs != "kernel":
                yield wish.rule, _package(wish)
            case "files" if wish.needs != "kernel" and wish.where not in NOT_THERE:
                yield wish.rule, _file(wish)
    tables = {
        "login": LOGIN, "pam": PAM, "firewall": FILTER, "tree": TREE, "units": UNITS, "sudo": SUDO,
        "integrity": INTEGRITY,
    }  # fmt: skip
    for group, table in tables.items():
        before = "undo systemctl reload maia-firewall; " if table is FILTER else ""
        yield from ((f"{group}.{name}", before + script) for name, script in table.items())
    for name, script in ACCOUNTS.items():
        kept = "".join(f"keep /etc/{file}; " for file in ("passwd", "shadow", "group", "shells"))
        yield f"account.{name}", kept + script
    for name, (program, section, line) in SYSTEMD.items():
        yield f"systemd.{name}", f"put /etc/systemd/{program}.conf.d/zzz.conf <<< '[{section}]\n{line}'"
    for name, line in APT.items():
        yield f"updates.{name}", f"put /etc/apt/apt.conf.d/zz-mutation <<< '{line}'"
    for name, entry in DOCKER.items():
        python = 'import json; p = "/etc/docker/daemon.json"; d = json.load(open(p)); '
        python += f'd.update(json.loads("""{{{entry}}}""")); json.dump(d, open(p, "w"))'
        yield f"docker.{name}", f"keep /etc/docker/daemon.json; python3 -c '{python}'"
    for name in ("issue", "issue.net"):
        yield f"banner.{name}", f"put /etc/{name} < /dev/null"
        yield f"banner.{name}-silent", f"put /etc/{name} <<< 'Debian GNU/Linux \\s \\r'"
    yield "banner.motd-silent", "put /etc/motd <<< 'Debian GNU/Linux'"
    yield "log.one-log", _package(Wish(group="log", name="rsyslog", fact=()))
    yield "time.one-clock", _package(Wish(group="time", name="openntpd", fact=()))
    yield "firewall.one-firewall", _package(Wish(group="firewall", name="shorewall", fact=()))
    yield (
        "network.listening",
        (
            "python3 -c 'import socket, time; s = socket.create_server((\"0.0.0.0\", 4444)); time.sleep(600)' "
            "> /dev/null 2>&1 & undo kill $!; "
            "for i in $(seq 100); do grep -q ':115C ' /proc/net/tcp && break; sleep 0.1; done"
        ),
    )
    yield "sshd.who", "for f in /etc/ssh/sshd_config.d/*.conf; do edit '/^(Allow|Deny)(Users|Groups)/d' $f; done"
    yield "sshd.post-quantum", "put /etc/ssh/sshd_config.d/00-0.conf 600 <<< 'KexAlgorithms curve25519-sha256'"
    yield "pam.quality-root", "edit 's/^ *enforce_for_root.*//' /etc/security/pwquality.conf.d/60-maia.conf"


CHANGES: Mapping[str, str] = dict(_changes())
"""Rule to what a shell of root's does in a test host."""
LAB = set(CHANGES)
FACTS = tuple(rule for rule in hostrules.names() if rule not in LAB)
"""Rules that a test host cannot show: they are changed in the facts instead."""


def how(rule: str) -> str:
    """For the table of docs: where and how the check was turned red."""
    group, _, name = rule.partition(".")
    if rule not in LAB:
        return "in the facts"
    match group:
        case "audit" | "pam" if "some" in WISHES[rule].asked:
            return f"test host: lines in `{LINES[group](WISHES[rule])}`"
        case "sshd" if name in SSHD:
            return f"test host: `{name} {SSHD[name]}`"
        case "sysctl":
            return f"test host: `{CHANGES[rule].rpartition('; ')[2]}`"
        case "packages":
            return f"test host: the package {'gone' if 'present' in WISHES[rule].asked else 'there'}"
        case "files":
            return "test host: `chmod o+w`"
    script = CHANGES[rule].split("; ")
    said = next(" ".join(each.split()) for each in script if not each.startswith(("keep", "undo", "mkdir")))
    return f"test host: `{said[:60].replace('|', '¦').replace('`', '')}`"
