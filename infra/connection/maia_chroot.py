"""Ansible's connection to a root file system that is mounted here and does not run: an image in the making."""

from __future__ import annotations

import shlex
from typing import Any

from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: maia_chroot
author: MAIA Sovereign
short_description: Run in a mounted root file system
description:
  - Runs commands in a root file system of this machine, in namespaces of their own. The kernel's settings cannot be
    written from there, and no process outlives its command.
options:
  root:
    description: The folder where the root file system is mounted.
    type: path
    required: true
    vars:
      - name: maia_root
extends_documentation_fragment:
  - connection_pipelining
"""

ENTER = """\
mount -t proc proc "$1/proc" && mount -o bind,ro "$1/proc/sys" "$1/proc/sys" &&
mount -t tmpfs tmpfs "$1/run" && mount -t tmpfs tmpfs "$1/tmp" && mount -o bind /dev "$1/dev" &&
exec chroot "$1" /bin/sh -c "$2"
"""


class Connection(Local):  # type: ignore[misc]  # Ansible has no types
    transport = "maia_chroot"

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        command = [
            "unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--",
            "/bin/sh", "-c", ENTER, "sh", self.get_option("root"), cmd,
        ]  # fmt: skip
        found: tuple[int, bytes, bytes] = super().exec_command(shlex.join(command), in_data=in_data, sudoable=sudoable)
        return found

    def put_file(self, in_path: str, out_path: str) -> None:
        super().put_file(in_path, self.get_option("root") + out_path)

    def fetch_file(self, in_path: str, out_path: str) -> Any:
        return super().fetch_file(self.get_option("root") + in_path, out_path)
