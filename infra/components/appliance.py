"""The whole stack: networks, parts in the order they need each other, and what they need made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from graphlib import TopologicalSorter
from typing import TypedDict

import pulumi
import pulumi_docker as docker

from infra import authority, credentials, schema
from infra.catalog import auth
from infra.components.cache import RedisUser
from infra.components.database import Login, Role
from infra.components.files import Files, Folder
from infra.components.host import Host
from infra.components.part import CA, Context, Part
from infra.components.schema import Schema
from infra.components.store import Bucket, Policy, StoreLogin
from infra.errors import MaiaError
from infra.place import Place, There
from infra.plan import Plan
from infra.site import Site


def declare(plan: Plan, site: Site, at: Place, *, ahead: bool = False) -> None:
    """Declare every resource of the plan; called by the Pulumi program only.

    Args:
        at: where its containers run.
        ahead: declare its servers only.

    Raises:
        MaiaError: an image is missing, or the schema of the data cannot be brought to this release's; nothing is
            declared then, so nothing is changed.
    """
    for step in schema.steps(plan, at, at.home(site, plan.stack)) if plan.running and not ahead else ():
        pulumi.log.info(f"schema: {step}")
    config = pulumi.Config("secrets")
    found = {name: config.require_secret(name) for name in (*plan.secrets, *authority.NAMES)}
    found |= {name: value for name in authority.OPTIONAL if (value := config.get_secret(name))}
    secrets: pulumi.Output[Mapping[str, str]] = pulumi.Output.all(**found)
    secrets.apply(_refuse_weak)
    hosts = {host.name: Host(host, site=site, stack=plan.stack, secrets=secrets) for host in plan.hosts}
    if plan.running and not ahead:
        _check_images(plan)
        _Appliance(plan, site, at, secrets, found.get(authority.STAMP), hosts.get(plan.on))
    pulumi.export("origin", plan.origin)
    pulumi.export("running", plan.running)
    pulumi.export("plan", plan.hash)
    if plan.on:
        pulumi.export("on", plan.on)


def _refuse_weak(secrets: Mapping[str, str]) -> None:
    """An owner may set a secret by hand; what is easy to guess stops the program before anything is declared."""
    try:
        for name, value in secrets.items():
            # The password of a mail server's account is chosen there.
            if name not in (*authority.NAMES, authority.NEXT, auth.SMTP):
                credentials.refuse_weak(name, value)
    except MaiaError as error:
        raise pulumi.RunError(str(error)) from None


def _check_images(plan: Plan) -> None:
    for container in plan.containers:
        if not container.image_id:
            mend = "maia up" if container.image.startswith("app:") else "maia images build"
            raise MaiaError(f"the image {container.image} is not there", where=container.part, mend=mend)


class _Where(TypedDict):
    socket: str
    admin: str
    at: Place


class _Appliance:
    def __init__(
        self,
        plan: Plan,
        site: Site,
        at: Place,
        secrets: pulumi.Output[Mapping[str, str]],
        stamp: pulumi.Output[str] | None,
        host: Host | None,
    ) -> None:
        self.plan, self.site, self.at, self.secrets = plan, site, at, secrets
        self.docker: docker.Provider | None = None
        self.ground: list[pulumi.Resource] = []
        if isinstance(at, There):
            self.docker = self._elsewhere(at, host)
        self.context = Context(
            plan=plan,
            site=site,
            secrets=secrets,
            authority=secrets.apply(authority.of),
            generation=pulumi.Output.unsecret(stamp.apply(_generation)) if stamp else None,
            networks=self._networks(),
            volumes={},
            at=at,
            docker=self.docker,
            ground=tuple(self.ground),
        )
        self.administrators = Files(
            "administrators",
            root=site.files(plan.stack) / "administrators",
            files=secrets.apply(administrators),
            user="0:0",
            private=True,
            opts=pulumi.ResourceOptions(),
        )
        self.parts: dict[str, Part] = {}
        self.schema: Schema | None = None
        graph = {container.part: container.after for container in plan.containers}
        for name in TopologicalSorter(graph).static_order():
            container = plan.container(name)
            needs = [*self.ground, *(self.parts[other].started for other in container.after), *self._provide(name)]
            self.parts[name] = Part(self.context, container, needs)
            if name == "postgres" and plan.database:
                # Now: who has tables there is let in when they are made.
                self.schema = Schema(
                    "schema",
                    socket=self._socket("postgres"),
                    database=plan.database,
                    of=schema.wanted(plan),
                    at=at,
                    opts=self._options("postgres"),
                )

    def _elsewhere(self, at: There, host: Host | None) -> docker.Provider:
        """What a stack on a server has beside its parts: that server's Docker, and a folder there of its own."""
        trusted = pulumi.Output.unsecret(self.secrets.apply(lambda values: authority.of(values).trusted))
        Files(
            "gateway-authority",  # for clients here
            root=self.site.files(self.plan.stack) / "gateway" / "config",
            files=trusted.apply(lambda certificates: {CA: certificates}),
            user="0:0",
            private=False,
            opts=pulumi.ResourceOptions(),
        )
        home = at.home(self.site, self.plan.stack).root
        prepared = [host] if host else None
        # Recovery points may lie in it.
        keep = pulumi.ResourceOptions(retain_on_delete=True, depends_on=prepared)
        self.ground.append(Folder("ground", path=home, user="0:0", at=at, opts=keep))
        server = at.server
        return docker.Provider(
            "server",
            host=f"ssh://{server.user}@{server.address}:{server.port}",
            ssh_opts=server.shared,
            opts=pulumi.ResourceOptions(depends_on=prepared),
        )

    def _networks(self) -> dict[str, docker.Network]:
        return {
            str(network.zone): docker.Network(
                network.name,
                name=network.name,
                driver="bridge",
                internal=network.internal,
                ipam_configs=[docker.NetworkIpamConfigArgs(subnet=network.subnet)],
                options={
                    "com.docker.network.bridge.enable_ip_masquerade": str(network.masquerade).lower(),
                    "com.docker.network.bridge.inhibit_ipv4": str(not network.machine_address).lower(),
                },
                labels=[docker.NetworkLabelArgs(label="maia.stack", value=self.plan.stack)],
                opts=pulumi.ResourceOptions(
                    delete_before_replace=True, provider=self.docker, depends_on=self.ground or None
                ),
            )
            for network in self.plan.networks
        }

    def _admin(self, name: str) -> str:
        return str(self.site.files(self.plan.stack) / "administrators" / name)

    def _socket(self, part: str) -> str:
        return str(self.context.home.sockets(self.plan.stack) / part)

    def _options(self, provider: str) -> pulumi.ResourceOptions:
        """Made once the provider answers; gone with it where the whole stack goes."""
        part = self.parts[provider]
        return pulumi.ResourceOptions(depends_on=[part.started, self.administrators], deleted_with=part.container)

    def _tagged(self, name: str, secret: str, separator: str) -> pulumi.Output[str]:
        """A login's name: it follows from a secret but is none."""
        return pulumi.Output.unsecret(
            self.context.secret(secret).apply(lambda value: credentials.tagged(name, value, separator))
        )

    def _provide(self, part: str) -> list[pulumi.Resource]:
        """What the part needs made in Postgres, Redis and the object store."""
        return [*self._postgres(part), *self._redis(part), *self._store(part)]

    def _postgres(self, part: str) -> list[pulumi.Resource]:
        made: list[pulumi.Resource] = []
        for need in (role for role in self.plan.roles if role.part == part):
            options = self._options("postgres")
            if self.schema and need.database.name == self.plan.database:
                options = pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[self.schema]))
            role = Role(
                f"{part}-role",
                socket=self._socket("postgres"),
                role=need.role,
                database=need.database.name,
                member_of=need.database.member_of,
                extensions=need.database.extensions,
                at=self.at,
                opts=options,
            )
            login = Login(
                f"{part}-login",
                socket=self._socket("postgres"),
                role=need.role,
                login=self._tagged(need.role, need.secret, "_"),
                password=self.context.secret(need.secret),
                at=self.at,
                opts=pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[role])),
            )
            made += [role, login]
        return made

    def _redis(self, part: str) -> list[pulumi.Resource]:
        return [
            RedisUser(
                f"{part}-redis-user",
                socket=self._socket("redis"),
                admin=self._admin("redis"),
                user=need.user,
                keys=need.rules.keys,
                channels=need.rules.channels,
                commands=need.rules.commands,
                password=self.context.secret(need.secret),
                at=self.at,
                opts=self._options("redis"),
            )
            for need in self.plan.redis_users
            if need.part == part
        ]

    def _store(self, part: str) -> list[pulumi.Resource]:
        made: list[pulumi.Resource] = []
        for need in (user for user in self.plan.store_users if user.part == part):
            options = self._options("s3")
            where: _Where = {"socket": self._socket("s3"), "admin": self._admin("minio"), "at": self.at}
            buckets: list[pulumi.Resource] = [
                Bucket(f"{bucket.name}-bucket", **where, bucket=bucket.name, versioned=bucket.versioned, opts=options)
                for bucket in need.buckets
            ]
            policy = Policy(
                f"{part}-policy",
                **where,
                policy_name=need.user,
                buckets=[bucket.name for bucket in need.buckets],
                opts=options,
            )
            login = StoreLogin(
                f"{part}-store-login",
                **where,
                policy_name=need.user,
                login=self._tagged(need.user, need.secret, "-"),
                password=self.context.secret(need.secret),
                opts=pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[policy])),
            )
            made += [*buckets, policy, login]
        return made


def _generation(stamp: str) -> str:
    return hashlib.sha256(stamp.encode()).hexdigest()[:8]


def administrators(secrets: Mapping[str, str]) -> dict[str, str]:
    """The administrators' credentials, for this machine's root alone: file name to text."""
    files = {}
    if password := secrets.get("redis-admin"):
        files["redis"] = password
    if password := secrets.get("minio-root"):
        files["minio"] = json.dumps({"user": credentials.tagged("root", password, "-"), "password": password})
    return files
