"""The scripts of jobs that run in an image: what bash does with them, and what a container engine is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from job_node import CONTAINER_ENGINE, FINISHING, Does, Node, array_task, request_on

from audioctl.settings import Container, Paths, Upload
from audioctl.templates import render_array, render_finish, render_job


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def in_container(node: Node, name: str = "apptainer", **options: object) -> Container:
    node.install(name, CONTAINER_ENGINE)
    return Container(image="/i m.sif", **options)  # type: ignore[arg-type]


def options_of(call: Sequence[str]) -> list[str]:
    return list(call[1 : call.index("python3")])


def test_in_a_container_the_folders_that_exist_are_shown(node: Node, tmp_path: Path) -> None:
    staging, models = tmp_path / "sta ging", tmp_path / "models"
    staging.mkdir()
    models.mkdir()
    request = request_on(
        node,
        f"{staging}/a.tar",
        paths=Paths(state_dir=str(node.run_folder), scratch=str(tmp_path / "not here"), models=str(models)),
        upload=Upload(destination="user@host:/x"),
        container=in_container(node, "singularity", runtime="singularity", binds=("/etc:/conf:ro",)),
    )

    assert node.run(render_job(request), "0", environ={"TMPDIR": "", "LOCAL_SCRATCH": "/tmp", "HF_HOME": "/var"}) == 0

    (call,) = node.engine_calls()
    assert options_of(call) == [
        *("exec", "--nv", "--cleanenv"),
        *("--bind", "/etc:/conf:ro"),
        *("--bind", "/tmp"),
        *("--bind", "/var"),
        *("--bind", str(node.run_folder)),
        *("--bind", str(models)),
        *("--bind", str(staging)),
        "/i m.sif",
    ]
    assert node.calls()[0].arguments[4] == f"{staging}/a.tar"


@pytest.mark.parametrize(
    ("runtime", "installed", "used"),
    [
        ("auto", ["apptainer"], "apptainer"),
        ("auto", ["singularity"], "singularity"),
        ("auto", ["singularity", "apptainer"], "apptainer"),
        ("singularity", ["singularity", "apptainer"], "singularity"),
    ],
)
def test_a_signal_and_the_variables_reach_the_inside(runtime: str, installed: list[str], used: str, node: Node) -> None:
    for name in installed:
        container = in_container(node, name, runtime=runtime, environment=("MY_KEY", "MY_SITE_*"))
    secret = "s3cret 'of\n$the \"lab"
    passed_on = {
        "PGPASSWORD": secret,
        "DB_CREDS": f"/creds {secret}",
        "MY_KEY": secret,
        "MY_SITE_NAME": "*",
        "CUDA_VISIBLE_DEVICES": "3",
        "SLURM_CPUS_PER_TASK": "4",
        "HF_HUB_OFFLINE": "0",
    }
    kept_out = {"MY_KEYS": "no", "LD_PRELOAD_NOTHING": "no", "THEIR_MY_SITE": "no", "PYTHONHOMELESS": "no"}
    script = render_array(request_on(node, "/a.tar", container=container), "0")

    does: Does = {"12_00": {"when_signalled": 75}}
    with node.started(script, does=does, environ=array_task(**passed_on, **kept_out)) as job:
        job.wait_until_ready()
        command_lines = job.command_lines()
        job.signal("SIGUSR1")
        assert job.end()[0] == 75

    inside = node.calls()[0].environment
    assert {name: inside.get(name) for name in passed_on} == passed_on | {"HF_HUB_OFFLINE": "1"}
    assert not kept_out.keys() & inside.keys()
    (call,) = node.engine_calls()
    assert call[0] == used
    assert any("process-tar" in line for line in command_lines)
    assert "s3cret" not in " ".join([*call, *command_lines])


def test_the_python_that_submitted_the_run_finishes_the_day_and_the_image_sends_what_is_owed(node: Node) -> None:
    script = render_finish(request_on(node, "/a.tar", container=in_container(node)))

    assert node.run(script, does={"list-owed": {"prints": "12_00"}}, environ=FINISHING) == 0

    assert node.subjects() == ["list-owed", "12_00", "finish-day"]
    assert [call[call.index("--config") + 2] for call in node.engine_calls()] == ["process-tar"]


def test_on_a_node_without_that_python_the_image_does_it_all(node: Node) -> None:
    request = replace(request_on(node, "/a.tar", container=in_container(node)), python="/gone/bin/python")

    assert node.run(render_finish(request), does={"list-owed": {"prints": "12_00"}}, environ=FINISHING) == 0

    commands = [call[call.index("--config") + 2] for call in node.engine_calls()]
    assert commands == ["list-owed", "process-tar", "finish-day"]


def test_a_node_without_a_container_runtime_says_so(node: Node) -> None:
    script = render_job(request_on(node, "/a.tar", container=Container(image="/i.sif")))

    with node.started(script, "0", environ={"PATH": node.path_with_only("bash", "head")}) as job:
        code, _, errors = job.end()

    assert code == 127
    assert errors == "audioctl: this node has no apptainer or singularity; add its module to slurm.modules.\n"
