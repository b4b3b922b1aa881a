"""The rendered scripts, run by a real Slurm, take the work into the image: its %post was run in a Debian root, and a
stand-in for apptainer enters that root with exactly what the scripts ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster_day import DAY, ClusterDay
from container_image import install_stand_in
from slurm import Cluster


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
