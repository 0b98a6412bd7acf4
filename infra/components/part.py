"""One part of the appliance: its files, volumes, container, and the gate behind it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_docker as docker

from infra import credentials, machine
from infra.authority import Authority
from infra.catalog.model import Zone
from infra.components import exchange as exchanges
from infra.components.arguments import bind, duration, limit_processes
from infra.components.certificate import Certificate
from infra.components.exchange import Exchange
from infra.components.files import Files, Folder
from infra.components.reloaded import Reloaded
from infra.components.started import Finished, Started
from infra.components.trial import Trial
from infra.errors import MaiaError
from infra.place import Place
from infra.plan import Container, Mount, Plan
from infra.render import render
from infra.site import Site

CONFIG = "/etc/maia"
SECRETS = "/run/secrets"
CA = "ca.crt"
TLS = ("tls.crt", "tls.key")
HEALTH_INTERVAL = "30s"
"""Each look is a process started in the container; ``Started`` has seen it healthy before Docker's first one."""
MIGRATION = 600
"""Seconds an app's migration may take."""


@dataclass(frozen=True)
class Context:
    """What every part of a stack shares."""

    plan: Plan
    site: Site
    secrets: pulumi.Output[Mapping[str, str]]
    """Every secret of the stack, by name."""
    authority: pulumi.Output[Authority]
    generation: pulumi.Output[str] | None
    """Of the server certificates, where they were ever made anew by hand."""
    networks: Mapping[str, docker.Network]
    """By zone."""
    volumes: dict[str, docker.Volume]
    """Those declared so far, by name."""
    at: Place
    docker: docker.Provider | None
    """Of a server's Docker."""
    ground: tuple[pulumi.Resource, ...]
    """What must be there before anything of a part is."""

    @property
    def home(self) -> Site:
        """Where the stack's files lie on the machine that its containers run on."""
        return self.at.home(self.site, self.plan.stack)

    def secret(self, name: str) -> pulumi.Output[str]:
        return self.secrets.apply(lambda values: values[name])


class Part(pulumi.ComponentResource):
    """A container with all that is its own."""

    def __init__(self, context: Context, container: Container, needs: Sequence[pulumi.Resource]) -> None:
        options = pulumi.ResourceOptions(providers=[context.docker] if context.docker else None)
        super().__init__("maia:appliance:Part", container.part, opts=options)
        self.context, self.plan = context, container
        self._child = pulumi.ResourceOptions(parent=self, depends_on=context.ground or None)
        folder = context.home.files(context.plan.stack) / container.part
        config = self._config()
        secret = self._secret()
        ready = pulumi.ResourceOptions(parent=self, depends_on=list(needs))
        self.config = Files(
            f"{container.part}-config",
            root=folder / "config",
            files=config,
            user="0:0",
            private=False,
            at=context.at,
            opts=ready,
        )
        mounts = [bind(self.config.root, CONFIG)]
        # Known once it lies among the files.
        certificate: pulumi.Output[str] | None = None
        if secret is not None:
            files = Files(
                f"{container.part}-secrets",
                root=folder / "secrets",
                files=secret,
                user=container.user,
                private=True,
                at=context.at,
                opts=ready,
            )
            mounts.append(bind(files.root, SECRETS))
            if container.certificate:
                certificate = pulumi.Output.unsecret(files.files.apply(lambda texts: texts[TLS[0]]))
        if container.socket:
            socket = Folder(
                f"{container.part}-socket",
                path=context.home.sockets(context.plan.stack) / container.part,
                user=container.user,
                at=context.at,
                opts=self._child,
            )
            mounts.append(bind(socket.path, container.socket, read_only=False))
        sockets = context.home.sockets(context.plan.stack)
        mounts += [bind(str(sockets / part), path) for part, path in container.sockets.items()]
        if container.archive:
            archive = Folder(
                f"{container.part}-archive",
                path=_archive(context),
                user=container.user,
                at=context.at,
                opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True),
            )
            mounts.append(bind(archive.path, container.archive, read_only=False))
        mounts += [self._volume(mount) for mount in container.mounts]
        if container.migrate:
            needs = [*needs, self._migration(mounts, needs)]
        shape = self._shape(mounts, self._fingerprint(config, secret))
        exchange = exchanges.of(context.plan, container, context.at)
        if exchange:
            needs = [*needs, self._trial(exchange, shape, needs)]
        self.container = self._container(shape, needs)
        self.started = Started(
            f"{container.part}-started",
            container=self.container.id,
            health=container.health.command,
            patience=container.health.patience,
            exchange=exchange,
            at=context.at,
            opts=pulumi.ResourceOptions(parent=self, deleted_with=self.container),
        )
        if certificate and container.reload:
            opts = pulumi.ResourceOptions(parent=self, depends_on=[self.started], deleted_with=self.container)
            Reloaded(
                f"{container.part}-reloaded",
                container=container.name,
                certificate=certificate,
                server=container.certificate[0],
                port=container.ports[0],
                signal=container.reload,
                at=context.at,
                opts=opts,
            )
        self.register_outputs({"image": container.image_id})

    def _config(self) -> pulumi.Output[dict[str, str]]:
        texts = {
            file.path.removeprefix(f"{CONFIG}/"): render(file, self.context.plan, self.plan)
            for file in self.plan.files
            if not file.secret
        }
        trusted = pulumi.Output.unsecret(self.context.authority.apply(lambda authority: authority.trusted))
        return trusted.apply(lambda certificates: {**texts, CA: certificates})

    def _secret(self) -> pulumi.Output[dict[str, str]] | None:
        files = [file for file in self.plan.files if file.secret]
        if not files and not self.plan.certificate:
            return None
        context, part = self.context, self.plan
        texts = context.secrets.apply(
            lambda values: {
                file.path.removeprefix(f"{SECRETS}/"): render(file, context.plan, part, values) for file in files
            }
        )
        if not part.certificate:
            return pulumi.Output.secret(texts)
        certificate = Certificate(
            f"{part.part}-certificate",
            names=list(dict.fromkeys((*part.certificate, *(context.plan.names if part.published else ())))),
            ca_certificate=pulumi.Output.unsecret(context.authority.apply(lambda authority: authority.certificate)),
            ca_key=context.authority.apply(lambda authority: authority.key),
            generation=context.generation,
            opts=self._child,
        )
        return pulumi.Output.secret(
            pulumi.Output.all(texts, certificate.certificate, certificate.key).apply(
                lambda got: {**got[0], **dict(zip(TLS, got[1:], strict=True))}
            )
        )

    def _fingerprint(
        self, config: pulumi.Output[dict[str, str]], secret: pulumi.Output[dict[str, str]] | None
    ) -> pulumi.Output[str]:
        """A hash of every file whose change means a new container."""
        # The CA is read by whoever connects, when it connects.
        live = {f"{CONFIG}/{CA}", *(file.path for file in self.plan.files if file.live)}
        live |= {f"{SECRETS}/{name}" for name in TLS} if self.plan.reload else set()

        def digest(got: Sequence[dict[str, str]]) -> str:
            paths = {f"{CONFIG}/{name}": text for name, text in got[0].items()}
            paths |= {f"{SECRETS}/{name}": text for name, text in got[1].items()}
            kept = {path: text for path, text in paths.items() if path not in live}
            return _digest(kept)

        none: dict[str, str] = {}
        return pulumi.Output.unsecret(pulumi.Output.all(config, secret if secret is not None else none).apply(digest))

    def _volume(self, mount: Mount) -> docker.ContainerMountArgs:
        name, known = mount.volume, self.context.volumes
        if name not in known:
            known[name] = docker.Volume(
                name,
                name=name,
                labels=[docker.VolumeLabelArgs(label="maia.stack", value=self.context.plan.stack)],
                # Removing a part never removes what it kept; `maia destroy` does, by name.
                opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True),
            )
        return docker.ContainerMountArgs(
            type="volume", source=known[name].name, target=mount.path, read_only=not mount.writable or None
        )

    def _shape(self, mounts: list[docker.ContainerMountArgs], fingerprint: pulumi.Output[str]) -> dict[str, Any]:
        """What makes this version of the part, wherever it stands."""
        part = self.plan
        return {
            "hostname": part.part,
            "entrypoints": list(part.command) or None,
            "shm_size": part.shared_memory or 64,
            "labels": self._labels(fingerprint),
            **self._baseline(mounts),
        }

    def _container(self, shape: Mapping[str, Any], needs: Sequence[pulumi.Resource]) -> docker.Container:
        part = self.plan
        return docker.Container(
            part.part,
            name=part.name,
            restart="unless-stopped",
            destroy_grace_seconds=part.stop_seconds,
            stop_timeout=part.stop_seconds,
            ports=[
                docker.ContainerPortArgs(ip=port.address, external=port.port, internal=port.target)
                for port in part.published
            ],
            networks_advanced=[
                docker.ContainerNetworksAdvancedArgs(
                    name=self.context.networks[zone].name, ipv4_address=address, aliases=[part.part]
                )
                for zone, address in part.addresses.items()
            ],
            healthcheck=docker.ContainerHealthcheckArgs(
                tests=["CMD", *part.health.command],
                interval=HEALTH_INTERVAL,
                timeout="5s",
                retries=3,
                start_period=duration(part.health.patience),
            ),
            **shape,
            opts=self._options(needs),
        )

    def _trial(self, exchange: Exchange, shape: Mapping[str, Any], needs: Sequence[pulumi.Resource]) -> Trial:
        """The app's new version, healthy beside the old one before that goes."""
        part = self.plan
        return Trial(
            f"{part.part}-trial",
            live=part.name,
            exchange=exchange,
            networks={
                self.context.plan.network(Zone(zone)).name: address
                for zone, address in part.candidate_addresses.items()
            },
            shape=shape,
            pids=part.pids,
            health=part.health,
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[*needs, *(self.context.networks[zone] for zone in part.candidate_addresses)]
            ),
        )

    def _migration(self, mounts: list[docker.ContainerMountArgs], needs: Sequence[pulumi.Resource]) -> Finished:
        """The app's migration, run to its end before the new version goes live."""
        part = self.plan
        job = docker.Container(
            f"{part.part}-migrate",
            name=f"{part.name}-migrate",
            entrypoints=list(part.migrate),
            must_run=False,
            restart="no",
            # Not started with its creation, so that one that failed runs again with the next `up`.
            start=False,
            networks_advanced=[
                docker.ContainerNetworksAdvancedArgs(name=self.context.networks[zone].name, ipv4_address=address)
                for zone, address in part.migrate_addresses.items()
            ],
            labels=self._labels(part.image_id),
            **self._baseline(mounts),
            opts=self._options(needs),
        )
        return Finished(
            f"{part.part}-migrated",
            container=job.id,
            patience=MIGRATION,
            at=self.context.at,
            opts=pulumi.ResourceOptions(parent=self, deleted_with=job),
        )

    def _baseline(self, mounts: list[docker.ContainerMountArgs]) -> dict[str, Any]:
        """What every container has, so that none can opt out of it silently."""
        part = self.plan
        uid, gid = part.user.split(":")
        return {
            "image": part.image_id,
            "envs": self._environment(),
            "user": "0:0" if part.root else part.user,
            "group_adds": [str(group) for group in part.groups] or None,
            "read_only": True,
            "capabilities": docker.ContainerCapabilitiesArgs(
                drops=["ALL"], adds=[f"CAP_{name}" for name in part.capabilities]
            ),
            "security_opts": ["no-new-privileges:true"],
            "memory": part.memory,
            "memory_swap": part.memory,
            "cpus": str(float(part.cpus)),
            "log_driver": "json-file",
            "log_opts": {"max-size": "10m", "max-file": "3"},
            "dns": list(part.dns),
            "tmpfs": dict.fromkeys(part.scratch, f"rw,nosuid,nodev,noexec,size=64m,mode=0700,uid={uid},gid={gid}"),
            "mounts": mounts,
        }

    def _labels(self, fingerprint: pulumi.Input[str]) -> list[docker.ContainerLabelArgs]:
        labels: dict[str, pulumi.Input[str]] = {
            "maia.stack": self.context.plan.stack,
            "maia.part": self.plan.part,
            "maia.files": fingerprint,
        }
        return [docker.ContainerLabelArgs(label=key, value=value) for key, value in labels.items()]

    def _options(self, needs: Sequence[pulumi.Resource]) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(
            parent=self,
            depends_on=list(needs),
            delete_before_replace=True,
            # The provider takes these for an update, and then changes nothing.
            replace_on_changes=["healthcheck", "tmpfs"],
            transformations=[limit_processes(self.plan.pids)],
        )

    def _environment(self) -> pulumi.Output[list[str]] | list[str]:
        plain = [f"{key}={value}" for key, value in self.plan.env.items()]
        if not self.plan.wire:
            return plain
        context, part = self.context, self.plan

        def fill(values: Mapping[str, str]) -> list[str]:
            credential = credentials.of_part(context.plan, part.part, values)
            return plain + [f"{key}={credentials.wired(credential, what)}" for key, what in part.wire.items()]

        return pulumi.Output.secret(context.secrets.apply(fill))


def _archive(context: Context) -> Path:
    """The folder of recovery points; the owner's must be there, or points would go where a disk should be mounted."""
    folder = context.plan.backup.folder
    if folder and not context.at.call(machine.is_folder, folder):
        raise MaiaError(f"{folder} is not there", where="maia:backup.folder", mend="mount it, or name another folder")
    return context.home.archive(context.plan.stack, folder)


def _digest(files: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
