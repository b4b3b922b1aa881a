"""The scripts of jobs: what is rendered, from our templates and from a user's own."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from audioctl.errors import ConfigurationError
from audioctl.settings import Container, Paths, Settings, Slurm, Transcribe, Upload
from audioctl.templates import ScriptRequest, array_size, render_array, render_job, templates_path

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def request_of_three() -> ScriptRequest:
    """Three archives with fixed paths, for looking at the text."""
    archives = [(slot, Path(f"/staging/2025-01-25/0_2025-01-25_{slot}.tar.xz")) for slot in ("12_30", "12_40", "12_50")]
    settings = Settings(
        paths=Paths(state_dir="/project/state"),
        upload=Upload(destination="user@storage:/audio"),
        slurm=Slurm(partition="gpu", gpus="1"),
    )
    return ScriptRequest(
        folder=Path("/project/state/runs/2025-01-25/20250126T080000Z-ab12"),
        run_id="20250126T080000Z-ab12",
        day="2025-01-25",
        archives=archives,
        settings=settings,
        python="/opt/audioctl/bin/python",
    )


# --- the text -------------------------------------------------------------------------------------


def assert_golden(name: str, script: str, tmp_path: Path) -> None:
    rendered = tmp_path / name
    rendered.write_text(script)
    assert script == (GOLDEN / name).read_text(), f"If the change is meant: cp {rendered} {GOLDEN / name}"


def test_job_script(request_of_three: ScriptRequest, tmp_path: Path) -> None:
    assert_golden("job.sh", render_job(request_of_three), tmp_path)


def test_array_script(request_of_three: ScriptRequest, tmp_path: Path) -> None:
    assert_golden("array.sbatch", render_array(request_of_three), tmp_path)


def test_array_script_with_everything(request_of_three: ScriptRequest, tmp_path: Path) -> None:
    settings = Settings(
        paths=Paths(state_dir="/project/state", scratch="/local"),
        slurm=Slurm(
            partition="gpu",
            account="birds and bees",
            qos="long",
            gres="gpu:h100:1",
            archives_per_job=2,
            modules=("cuda/12.4", "odd name"),
            mail_user="lab@example.org",
            extra=("--constraint=h100",),
        ),
        container=Container(image="/images/audioctl.sif", binds=("/data:/input:ro",)),
        transcribe=Transcribe(model="/models/large-v3-turbo"),
        upload=Upload(destination="/archive", ssh_key="/home/lab/.ssh/id"),
    )

    assert_golden("container.sbatch", render_array(replace(request_of_three, settings=settings)), tmp_path)


@pytest.mark.parametrize("name", ["job.sh", "array.sbatch", "container.sbatch"])
def test_bash_can_read_it(name: str) -> None:
    checked = subprocess.run(["bash", "-n", GOLDEN / name], capture_output=True, text=True)

    assert (checked.returncode, checked.stderr) == (0, "")


def test_every_sbatch_line_stands_before_the_first_command(request_of_three: ScriptRequest) -> None:
    lines = render_array(request_of_three).splitlines()

    first_command = next(index for index, line in enumerate(lines) if line and not line.startswith("#"))
    assert [line for line in lines[first_command:] if line.startswith("#SBATCH")] == []


def test_the_last_task_of_an_array_may_have_less_to_do(request_of_three: ScriptRequest) -> None:
    for archives_per_job, size in [(1, 3), (2, 2), (3, 1), (5, 1)]:
        settings = Settings(slurm=Slurm(archives_per_job=archives_per_job))
        assert array_size(replace(request_of_three, settings=settings)) == size


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("h100", "--partition=h100"),
        ("a b", '--partition="a b"'),
        ('a"b', '--partition="a\\"b"'),
        ("a\\b", '--partition="a\\\\b"'),
        ("a#b", '--partition="a#b"'),
    ],
)
def test_a_value_is_quoted_as_sbatch_reads_it(value: str, line: str, request_of_three: ScriptRequest) -> None:
    script = render_array(replace(request_of_three, settings=Settings(slurm=Slurm(partition=value))))

    assert f"#SBATCH {line}\n" in script


def test_a_percent_sign_in_the_folder_is_no_pattern_of_slurm(request_of_three: ScriptRequest) -> None:
    script = render_array(replace(request_of_three, folder=Path("/100%d")))

    assert "--output=/100%%d/logs/slurm-%A_%a.log\n" in script


@pytest.mark.parametrize("slurm", [Slurm(partition="gpu\ntouch x"), Slurm(extra=("--hold\nrm x",))])
def test_a_setting_cannot_smuggle_a_line_into_the_script(slurm: Slurm, request_of_three: ScriptRequest) -> None:
    with pytest.raises(ConfigurationError, match="more than one line"):
        render_array(replace(request_of_three, settings=Settings(slurm=slurm)))


def test_a_folder_that_no_bind_can_name_is_an_error(request_of_three: ScriptRequest) -> None:
    settings = Settings(paths=Paths(state_dir="/a:b"), container=Container(image="/i.sif"))

    with pytest.raises(ConfigurationError, match="/a:b cannot be shown inside a container"):
        render_job(replace(request_of_three, settings=settings))


# --- the user's own templates ---------------------------------------------------------------------


def with_templates(request: ScriptRequest, folder: Path) -> ScriptRequest:
    return replace(request, settings=Settings(paths=Paths(templates=str(folder))))


def test_the_templates_are_found() -> None:
    assert sorted(path.name for path in templates_path().iterdir()) == ["array.sbatch.j2", "job.sh.j2"]


def test_a_user_can_replace_a_part_of_a_template(request_of_three: ScriptRequest, tmp_path: Path) -> None:
    (tmp_path / "job.sh.j2").write_text(
        '{% extends "shipped/job.sh.j2" %}{% block modules %}export HELLO={{ run_id | shquote }}\n{% endblock %}'
    )

    script = render_job(with_templates(request_of_three, tmp_path))

    assert f"export HELLO={request_of_three.run_id}\n" in script
    assert "process-tar" in script


@pytest.mark.parametrize(
    ("template", "message"),
    [("#!/bin/bash\n{{ nothing }}\n", "'nothing' is undefined"), ("a\n{% if %}\n", "line 2: Expected an expression")],
)
def test_a_fault_in_a_users_template_is_named(
    template: str, message: str, request_of_three: ScriptRequest, tmp_path: Path
) -> None:
    (tmp_path / "job.sh.j2").write_text(template)

    with pytest.raises(ConfigurationError, match=rf"job\.sh\.j2 in {tmp_path} cannot be rendered: {message}"):
        render_job(with_templates(request_of_three, tmp_path))


def test_a_template_folder_that_does_not_exist_is_an_error(request_of_three: ScriptRequest, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        render_job(with_templates(request_of_three, tmp_path / "none"))
