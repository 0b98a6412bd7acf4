"""An app of the owner's own, described as a part like any other."""

from __future__ import annotations

import json

from infra.catalog.model import Bucket, Database, File, Health, Limits, Needs, Probe, Redis, Service, Zone
from infra.config import App


def as_service(name: str, app: App) -> Service:
    """The catalog entry that ``maia:apps.<name>`` amounts to."""
    needs = Needs(
        database=Database(name=name.replace("-", "_"), extensions=tuple(app.needs.extensions))
        if app.needs.database
        else None,
        buckets=(Bucket(name=f"{name}-files"),) if app.needs.bucket else (),
        redis=Redis(keys=(f"{name}:*",), channels=(f"{name}:*",)) if app.needs.redis else None,
    )
    wanted = [
        kind for kind, need in (("postgres", needs.database), ("redis", needs.redis), ("s3", needs.buckets)) if need
    ]
    # Node is what the owner's image most likely has; nothing else can be counted on.
    url = f"http://127.0.0.1:{app.port}{app.health}"
    ask = f"fetch({url!r}).then(r=>process.exit(r.status===200?0:1),()=>process.exit(1))"
    return Service(
        name=name,
        title="App of the owner's own",
        image=f"app:{name}",
        zones=(Zone.APPS, *((Zone.DATA,) if wanted else ())),
        ports=(app.port,),
        command=tuple(app.command),
        env={key: value if isinstance(value, str) else json.dumps(value) for key, value in app.env.items()},
        files=tuple(
            File(path=f"/run/secrets/{kind}.json", template=f"app/{kind}.json.j2", live=True) for kind in wanted
        ),
        scratch=("/tmp", *app.writable),
        needs=needs,
        probe=Probe(module="http_2xx", target=f"http://{{apps}}:{app.port}{app.health}"),
        health=Health(command=tuple(app.healthcheck) or ("node", "-e", ask)),
        limits=Limits(memory=app.memory, cpus=app.cpus, pids=256),
    )
