"""The whole stack: networks, parts in the order they need each other, and what they need made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from graphlib import TopologicalSorter

import pulumi
import pulumi_docker as docker

from infra import authority, credentials, preflight, schema
from infra.components.cache import RedisUser
from infra.components.database import Login, Role
from infra.components.files import Files
from infra.components.host import Host
from infra.components.part import Context, Part
from infra.components.schema import Schema
from infra.components.store import Bucket, Policy, StoreLogin
from infra.errors import MaiaError
from infra.plan import Plan
from infra.site import Site


def declare(plan: Plan, site: Site) -> None:
    """Declare every resource of the plan; called by the Pulumi program only.

    Raises:
        MaiaError: an image is missing, or the schema of the data cannot be brought to this release's; nothing is
            declared then, so nothing is changed.
    """
    preflight.refuse_elsewhere(plan)
    for step in schema.steps(plan, site) if plan.running else ():
        pulumi.log.info(f"schema: {step}")
    config = pulumi.Config("secrets")
    found = {name: config.require_secret(name) for name in (*plan.secrets, *authority.NAMES)}
    found |= {name: value for name in authority.OPTIONAL if (value := config.get_secret(name))}
    secrets: pulumi.Output[Mapping[str, str]] = pulumi.Output.all(**found)
    secrets.apply(_refuse_weak)
    hosts = {host.name: Host(host, site=site, stack=plan.stack, secrets=secrets) for host in plan.hosts}
    if plan.running:
        _check_images(plan)
        _Appliance(plan, site, secrets, found.get(authority.STAMP), hosts.get(plan.on))
    pulumi.export("origin", plan.origin)
    pulumi.export("running", plan.running)
    pulumi.export("plan", plan.hash)


def _refuse_weak(secrets: Mapping[str, str]) -> None:
    """An owner may set a secret by hand; what is easy to guess stops the program before anything is declared."""
    try:
        for name, value in secrets.items():
            if name not in (*authority.NAMES, authority.NEXT):
                credentials.refuse_weak(name, value)
    except MaiaError as error:
        raise pulumi.RunError(str(error)) from None


def _check_images(plan: Plan) -> None:
    for container in plan.containers:
        if not container.image_id:
            mend = "maia up" if container.image.startswith("app:") else "maia images build"
            raise MaiaError(f"the image {container.image} is not there", where=container.part, mend=mend)


class _Appliance:
    def __init__(
        self,
        plan: Plan,
        site: Site,
        secrets: pulumi.Output[Mapping[str, str]],
        stamp: pulumi.Output[str] | None,
        ground: Host | None,
    ) -> None:
        self.plan, self.site, self.secrets = plan, site, secrets
        self.ground = ground
        self.context = Context(
            plan=plan,
            site=site,
            secrets=secrets,
            authority=secrets.apply(authority.of),
            generation=pulumi.Output.unsecret(stamp.apply(_generation)) if stamp else None,
            networks=self._networks(),
            volumes={},
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
        graph = {container.part: container.after for container in plan.containers}
        for name in TopologicalSorter(graph).static_order():
            container = plan.container(name)
            needs = [*(self.parts[other].started for other in container.after), *self._provide(name)]
            self.parts[name] = Part(self.context, container, needs)
        if plan.database:
            Schema("schema", socket=self._socket("postgres"), database=plan.database, opts=self._options("postgres"))

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
                    delete_before_replace=True, depends_on=[self.ground] if self.ground else None
                ),
            )
            for network in self.plan.networks
        }

    def _admin(self, name: str) -> str:
        return str(self.site.files(self.plan.stack) / "administrators" / name)

    def _socket(self, part: str) -> str:
        return str(self.site.sockets(self.plan.stack) / part)

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
            role = Role(
                f"{part}-role",
                socket=self._socket("postgres"),
                role=need.role,
                database=need.database.name,
                member_of=need.database.member_of,
                extensions=need.database.extensions,
                opts=options,
            )
            login = Login(
                f"{part}-login",
                socket=self._socket("postgres"),
                role=need.role,
                login=self._tagged(need.role, need.secret, "_"),
                password=self.context.secret(need.secret),
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
                opts=self._options("redis"),
            )
            for need in self.plan.redis_users
            if need.part == part
        ]

    def _store(self, part: str) -> list[pulumi.Resource]:
        made: list[pulumi.Resource] = []
        for need in (user for user in self.plan.store_users if user.part == part):
            options = self._options("s3")
            where = {"socket": self._socket("s3"), "admin": self._admin("minio")}
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
