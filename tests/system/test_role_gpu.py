"""Cards for containers: nothing where there is none, and with a stand-in for the bus what can be seen without a card.

The stand-ins are folders that look like the kernel's list of the bus, and a program that answers like nvidia-smi.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from infra.errors import MaiaError
from infra.lab import Lab
from infra.site import Site
from infra.toolchain import build, tools
from tests.roles import Target, quiet

BUS = "/srv/bus"
OTHERS = {"0000:00:02.0": ("0x8086", "0x030000"), "0000:02:00.1": ("0x10de", "0x040300")}
"""A display of another maker, and the sound of a card."""
CARD = {"0000:02:00.0": ("0x10de", "0x030200")}
ANSWER = """#!/bin/sh
echo "$@" >&2
echo "GPU-one, 41, 17, 1024, 81559, 71.25, 0"
echo "GPU-two, 39, 0, 0, 81559, [N/A], [N/A]"
"""
TEXTFILE = "/var/lib/figures"


def bus(host: Target, devices: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """Variables that name a stand-in for the bus with these devices."""
    host.sh(f"rm -rf {BUS}; mkdir -p {BUS}")
    for slot, (vendor, kind) in devices.items():
        host.sh(f"mkdir {BUS}/{slot}; echo {vendor} >{BUS}/{slot}/vendor; echo {kind} >{BUS}/{slot}/class")
    return {"gpu_devices": BUS}


@pytest.fixture(scope="module")
def toolkit() -> list[str]:
    """NVIDIA's own, compiled."""
    return [str(build.ensure(tool, quiet)) for tool in (tools.NVIDIA_CTK, tools.NVIDIA_CDI_HOOK)]


@pytest.fixture(scope="module")
def docker_host(host: Target) -> Target:
    """With a Docker that gives devices by name."""
    host.apply("docker", docker_hardened=True, docker_cdi=True)
    return host


@pytest.mark.parametrize("devices", [{}, OTHERS], ids=["nothing", "others"])
def test_without_a_card_nothing_changes(host: Target, devices: dict[str, tuple[str, str]]) -> None:
    assert host.apply("gpu", **bus(host, devices)) == []
    assert host.apply("gpu", check=True) == []


def test_this_host_as_it_is_has_no_card(host: Target, image: Target) -> None:
    assert host.apply("gpu") == image.apply("gpu") == []


def test_a_card_without_docker_is_refused_before_anything_changes(host: Target, toolkit: list[str]) -> None:
    with pytest.raises(MaiaError, match="Docker does not answer; carry out the role docker first"):
        host.apply("gpu", **bus(host, CARD), gpu_toolkit=toolkit)
    assert host.sh("ls /etc/apt/sources.list.d /usr/local/bin").count("gpu") == 0


def test_docker_gives_a_container_a_device_by_its_name(docker_host: Target) -> None:
    spec = {
        "cdiVersion": "0.6.0",
        "kind": "maia.test/card",
        "devices": [{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/card", "hostPath": "/dev/zero"}]}}],
    }
    docker_host.sh(f"""
        mkdir -p /etc/cdi; echo '{json.dumps(spec)}' >/etc/cdi/test.json
        tar -C / -ch /usr/bin/ls $(ldd /usr/bin/ls | grep -o '/lib[^ ]*') | docker import - tools >/dev/null
    """)
    assert docker_host.sh("docker run --rm --device maia.test/card=0 tools /usr/bin/ls /dev/card") == "/dev/card\n"
    docker_host.sh("rm -r /etc/cdi")


def test_with_a_card_the_driver_comes_from_the_mirror_that_the_host_has(
    docker_host: Target, toolkit: list[str]
) -> None:
    asked = {**bus(docker_host, CARD | OTHERS), "gpu_toolkit": toolkit, "gpu_textfile": TEXTFILE}
    origins = "apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Component: {}'"
    before = set(docker_host.sh(origins.format("main")).splitlines())
    assert "gpu : Have a source of non-free packages" in docker_host.apply("gpu", check=True, **asked)
    assert docker_host.sh("ls /etc/apt/sources.list.d /usr/local/bin").count("gpu") == 0
    assert "gpu : Install the driver" in docker_host.apply("gpu", **asked)
    after = set(docker_host.sh(origins.format("non-free")).splitlines())
    assert after and after <= before
    assert docker_host.sh("nvidia-smi 2>&1 || true").startswith("NVIDIA-SMI has failed because it couldn't communicate")
    installed = (
        "dpkg-query --show --showformat='${Package} ${db:Status-Status}\\n' '*dkms*' | grep ' installed$' || true"
    )
    assert docker_host.sh(installed) == "", "the kernel's"
    assert docker_host.apply("gpu", **asked) == []
    assert docker_host.apply("gpu", check=True, **asked) == []


def test_the_toolkit_runs_there_and_describes_no_card_without_a_driver(docker_host: Target) -> None:
    assert "version 1.20.1" in docker_host.sh("nvidia-ctk --version && nvidia-cdi-hook --version")
    said = docker_host.sh("nvidia-ctk cdi generate --output=/run/cdi/nvidia.yaml 2>&1 && echo made || echo refused")
    assert "failed to initialize NVML" in said and said.endswith("refused\n")
    docker_host.sh("systemctl daemon-reload && systemctl start maia-cdi.service maia-gpu-metrics.service")
    assert docker_host.sh("ls /run/cdi 2>/dev/null || true") == "", "skipped where there is no driver"


def test_what_the_cards_say_is_written_for_the_exporter(docker_host: Target) -> None:
    docker_host.sh(
        f"mkdir -p {TEXTFILE} /srv/fake; cat >/srv/fake/nvidia-smi <<'EOF'\n{ANSWER}EOF\nchmod +x /srv/fake/nvidia-smi"
    )
    docker_host.sh("PATH=/srv/fake:$PATH maia-gpu-metrics")
    assert docker_host.sh(f"cat {TEXTFILE}/maia-gpu.prom").splitlines() == [
        "# TYPE maia_gpu_temperature_celsius gauge",
        'maia_gpu_temperature_celsius{uuid="GPU-one"} 41',
        'maia_gpu_temperature_celsius{uuid="GPU-two"} 39',
        "# TYPE maia_gpu_utilization_ratio gauge",
        'maia_gpu_utilization_ratio{uuid="GPU-one"} 0.17',
        'maia_gpu_utilization_ratio{uuid="GPU-two"} 0',
        "# TYPE maia_gpu_memory_used_bytes gauge",
        'maia_gpu_memory_used_bytes{uuid="GPU-one"} 1073741824',
        'maia_gpu_memory_used_bytes{uuid="GPU-two"} 0',
        "# TYPE maia_gpu_memory_bytes gauge",
        'maia_gpu_memory_bytes{uuid="GPU-one"} 85520809984',
        'maia_gpu_memory_bytes{uuid="GPU-two"} 85520809984',
        "# TYPE maia_gpu_power_watts gauge",
        'maia_gpu_power_watts{uuid="GPU-one"} 71.25',
        "# TYPE maia_gpu_ecc_errors gauge",
        'maia_gpu_ecc_errors{uuid="GPU-one"} 0',
    ]
    docker_host.sh("rm -r /srv/fake")


def test_a_docker_that_gives_no_devices_is_refused(docker_host: Target, toolkit: list[str]) -> None:
    docker_host.apply("docker", docker_hardened=True)
    with pytest.raises(MaiaError, match="set hardened: true and cdi: true for the role docker"):
        docker_host.apply("gpu", **bus(docker_host, CARD), gpu_toolkit=toolkit)


def test_removing_it_takes_away_what_it_put_there(docker_host: Target) -> None:
    assert docker_host.apply("gpu", entry="remove")
    assert docker_host.sh("find /etc /usr/local -name '*maia-gpu*' -o -name '*maia-cdi*' -o -name 'nvidia-c*k'") == ""
    assert docker_host.apply("gpu", entry="remove") == []


@pytest.fixture
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A bare Debian 12."""
    lab = Lab(Site(tmp_path_factory.mktemp("older") / "site"), docker.from_env())
    yield Target(lab.up("role-gpu-older", quiet, release="12"))
    lab.down(quiet)


@pytest.mark.long
def test_docker_of_debian_12_is_too_old_for_cards(older: Target, tmp_path: Path, toolkit: list[str]) -> None:
    older.apply("docker")
    with pytest.raises(MaiaError, match=r"Docker is 20\.10\S*, and cards are given by 25 or newer"):
        older.apply("gpu", **bus(older, CARD), gpu_toolkit=toolkit)
