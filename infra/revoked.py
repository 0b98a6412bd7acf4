"""Logins of another time: an older point brings back those whose secret was rotated since."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from infra.components import database, store
from infra.credentials import tagged
from infra.stack import Stack

TAG = re.compile(r"[_-][0-9a-f]{8}$")


def remove(stack: Stack, secrets: Mapping[str, str], say: Callable[[str], None]) -> list[str]:
    """Remove every tagged login of Postgres and the object store that no secret of today leads to.

    Returns:
        Their names.
    """
    plan, at = stack.plan, stack.place
    gone = []
    if plan.has("postgres"):
        socket = str(stack.home.sockets(plan.stack) / "postgres")
        current = {tagged(role.role, secrets[role.secret], "_") for role in plan.roles}
        with database.administer(socket, at=at) as link:
            found = [str(name) for (name,) in link.execute("select rolname from pg_roles where rolcanlogin")]
        for login in (name for name in found if TAG.search(name) and name not in current):
            say(f"removing the login {login}, whose secret is not in use any more")
            database.drop_login({"socket": socket, "login": login, "role": login[:-9], **at.inputs})
            gone.append(login)
    if plan.has("minio"):
        where = {
            "socket": str(stack.home.sockets(plan.stack) / "s3"),
            "admin": str(stack.site.files(plan.stack) / "administrators" / "minio"),
            **at.inputs,
        }
        current = {tagged(user.user, secrets[user.secret], "-") for user in plan.store_users}
        admin = store.administer(where)
        for login in json.loads(admin.user_list()):
            if TAG.search(login) and login not in current:
                say(f"removing the login {login}, whose secret is not in use any more")
                admin.user_remove(login)
                gone.append(login)
    return gone
