"""The status page: what runs, how it is, and what left the machine; readable without JavaScript."""

from __future__ import annotations

from infra.catalog import asgi, probes
from infra.catalog.model import File, Limits, Route, Scrape, Service, Zone

SERVICE = Service(
    name="status",
    title="Status page",
    image="app",
    version_of="maia",
    zones=(Zone.APPS, Zone.OPS, Zone.EXIT),
    ports=(8000,),
    command=asgi.serve("app.status.main:app", 8000),
    env={
        "MAIA_PLAN": "/etc/maia/plan.json",
        "MAIA_PROMETHEUS": "http://prometheus:9090",
        "MAIA_EXIT": "http://exit:3128",
    },
    files=(File(path="/etc/maia/plan.json", template="status/plan.json.j2", live=True),),
    routes=(Route(path="/status/", port=8000, operator=True),),
    scrape=(Scrape(port=8000),),
    health=probes.http(8000, "/health", contains='"prometheus": "ok"'),
    limits=Limits(memory=192, cpus=1),
    after=("prometheus",),
)
