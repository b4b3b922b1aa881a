"""The rendered scripts, run by a real Slurm, take the work into the image: its %post was run in a Debian root, and a
stand-in for apptainer enters that root with exactly what the scripts ask for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cluster_day import DAY, ClusterDay
from container_image import install_stand_in
from slurm import Cluster


def test_a_node_is_checked_inside_the_image_and_the_image_by_its_own_test(
    idle_cluster: Cluster, tmp_path: Path, container_image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = ClusterDay(idle_cluster, tmp_path / "a day", ["00_00"])
    day.configure("container", image=str(container_image))
    path = f"{install_stand_in(tmp_path)}:{idle_cluster.environment['PATH']}"
    monkeypatch.setattr(type(idle_cluster), "environment", {**idle_cluster.environment, "PATH": path})

    printed = day.run("doctor", "--on-node", "--json").stdout

    found = {finding["check"]: finding for finding in json.loads(printed)["findings"]}
    assert found["image"]["message"] == f"{container_image} can be run, and passes its own test."
    assert "/opt/audioctl/bin/python3" in found["python"]["message"]
    assert "The bundled model heard" in found["model"]["message"]
    assert {found[name]["verdict"] for name in ("archives", "state", "destination", "scratch")} == {"good"}


@pytest.mark.parametrize("runtime", ["apptainer", "singularity"])
def test_a_day_is_done_inside_the_image(
    idle_cluster: Cluster, tmp_path: Path, container_image: Path, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = ClusterDay(idle_cluster, tmp_path / "a day", ["00_00", "00_10"])
    day.configure("container", image=str(container_image), runtime=runtime, environment=("SECRET_OF_*",))
    programs = install_stand_in(tmp_path, runtime)  # type: ignore[arg-type]
    path = f"{programs}:{idle_cluster.environment['PATH']}"
    monkeypatch.setattr(type(idle_cluster), "environment", {**idle_cluster.environment, "PATH": path})
    monkeypatch.setenv("SECRET_OF_OURS", "s3cret")

    day.run("submit-day", DAY)

    idle_cluster.wait_for_end(day.number("finish"))
    assert day.states() == {"done": 2}
    day.check_nothing_is_lost_or_doubled()
    assert {attempt.node for attempt in day.attempts("00_00")} <= {"node1", "node2"}
    scripts = "".join(script.read_text() for script in day.state.rglob("*.sbatch"))
    assert "exec --nv --cleanenv" in scripts
    assert "s3cret" not in scripts
