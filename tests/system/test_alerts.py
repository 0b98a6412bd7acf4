"""The alert rules and configurations, judged by the very programs that will read them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from infra.config import parse
from infra.images import store
from infra.plan import Plan, build
from infra.render import render
from tests.unit.conftest import MACHINE, images

pytestmark = pytest.mark.usefixtures("appliance")  # it builds the images that are run here

PLAYED = Path(__file__).parents[1] / "alerts.yml"


@pytest.fixture(scope="module")
def plain() -> Plan:
    return build("local", parse("local", {}), MACHINE, images())


@pytest.fixture
def folder(tmp_path: Path, plain: Plan) -> Path:
    """The files of the observing parts, as /etc/maia would hold them."""
    folder = tmp_path / "maia"
    folder.mkdir()
    folder.chmod(0o755)
    for part in ("prometheus", "alertmanager", "blackbox-exporter"):
        container = plain.container(part)
        for file in container.files:
            (folder / Path(file.path).name).write_text(render(file, plain, container))
    (folder / "ca.crt").write_text("")
    return folder


def run(image: str, folder: Path, *command: str) -> str:
    """Run a command of an image in ``folder``, with nothing else; its output, or a failure that shows it."""
    built = store.lookup(image)
    assert built, f"the image {image} is not built"
    done = subprocess.run(
        [
            *("docker", "run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL"),
            *("--security-opt=no-new-privileges", "--tmpfs=/tmp:mode=1777"),
            *(f"--volume={folder}:/etc/maia:ro", "--workdir=/etc/maia", built.id, *command),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_promtool_accepts_the_configuration_and_its_rules(folder: Path) -> None:
    assert "SUCCESS" in run("prometheus", folder, "promtool", "check", "config", "/etc/maia/prometheus.yml")


def test_every_alert_fires_on_its_fault_and_none_on_a_healthy_appliance(folder: Path) -> None:
    (folder / "alerts.yml").rename(folder / "alerts.rules.yml")
    shutil.copy(PLAYED, folder / "alerts.test.yml")
    assert "SUCCESS" in run("prometheus", folder, "promtool", "test", "rules", "alerts.test.yml")


def test_the_alerts_on_a_certificate_from_outside_fire_by_its_lifetime(folder: Path) -> None:
    asked = {"names": ["maia.example.org"], "acme": {"directory": "https://acme.example.org/directory"}}
    certified = build("local", parse("local", {"maia:gateway": asked}), MACHINE, images())
    prometheus = certified.container("prometheus")
    file = next(file for file in prometheus.files if file.path.endswith("/alerts.yml"))
    (folder / "alerts.rules.yml").write_text(render(file, certified, prometheus))
    shutil.copy(PLAYED.with_name("alerts-acme.yml"), folder / "alerts.test.yml")
    assert "SUCCESS" in run("prometheus", folder, "promtool", "test", "rules", "alerts.test.yml")


def test_the_alerts_on_a_copy_fire_on_their_faults(folder: Path) -> None:
    s3 = {"endpoint": "https://s3.example.org", "bucket": "points", "key_id": "k"}
    values = {"maia:backup": {"copies": {"offsite": {"s3": s3}}}}
    away = build("local", parse("local", values), MACHINE, images())
    prometheus = away.container("prometheus")
    file = next(file for file in prometheus.files if file.path.endswith("/alerts.yml"))
    (folder / "alerts.rules.yml").write_text(render(file, away, prometheus))
    shutil.copy(PLAYED.with_name("alerts-copies.yml"), folder / "alerts.test.yml")
    assert "SUCCESS" in run("prometheus", folder, "promtool", "test", "rules", "alerts.test.yml")


def test_the_alerts_on_accounts_fire_on_their_faults(folder: Path) -> None:
    having = build("local", parse("local", {"maia:parts": {"auth": {"enabled": True}}}), MACHINE, images())
    prometheus = having.container("prometheus")
    file = next(file for file in prometheus.files if file.path.endswith("/alerts.yml"))
    (folder / "alerts.rules.yml").write_text(render(file, having, prometheus))
    shutil.copy(PLAYED.with_name("alerts-auth.yml"), folder / "alerts.test.yml")
    assert "SUCCESS" in run("prometheus", folder, "promtool", "test", "rules", "alerts.test.yml")


def test_playing_the_alerts_notices_a_rule_that_never_fires(folder: Path) -> None:
    rules = (folder / "alerts.yml").read_text()
    (folder / "alerts.rules.yml").write_text(rules.replace("expr: redis_up == 0", "expr: redis_up == 2"))
    shutil.copy(PLAYED, folder / "alerts.test.yml")
    with pytest.raises(AssertionError, match="RedisDown"):
        run("prometheus", folder, "promtool", "test", "rules", "alerts.test.yml")


def test_amtool_accepts_the_routes_of_alerts(folder: Path) -> None:
    assert "SUCCESS" in run("alertmanager", folder, "amtool", "check-config", "/etc/maia/alertmanager.yml")


def test_the_prober_accepts_its_modules(folder: Path) -> None:
    told = run(
        "blackbox-exporter",
        folder,
        "prometheus-blackbox-exporter",
        "--config.check",
        "--config.file=/etc/maia/blackbox.yml",
    )
    assert "Config file is ok" in told
