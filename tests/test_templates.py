"""The scripts of jobs: what is rendered, from our templates and from a user's own.

The expected scripts are in golden/. After a change that is meant, write them anew and read what is different:

    REWRITE_GOLDEN=1 python -m pytest tests/test_templates.py; git diff tests/golden
"""

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from audioctl.errors import ConfigurationError
from audioctl.settings import Container, Paths, Settings, Slurm, Transcribe, Upload
from audioctl.template_files import templates_path
from audioctl.templates import (
    ScriptRequest,
    render_array,
    render_doctor,
    render_finish,
    render_job,
    templates_used,
)

GOLDEN = Path(__file__).parent / "golden"

THREE_ARCHIVES = [
    (slot, Path(f"/staging/2025-01-25/0_2025-01-25_{slot}.tar.xz"), f"0_{task}")
    for task, slot in enumerate(("12_30", "12_40", "12_50"))
]

PLAIN = Settings(
    paths=Paths(state_dir="/project/state"),
    upload=Upload(destination="user@storage:/audio"),
    slurm=Slurm(partition="gpu", gpus="1"),
)

EVERYTHING = Settings(
    paths=Paths(state_dir="/project/state", scratch="/local", models="/project/models"),
    slurm=Slurm(
        partition="gpu",
        account="birds and bees",
        qos="long",
        gres="gpu:h100:1",
        constraint="[rack1|rack2]",
        reservation="night shift",
        exclude="node[3-5]",
        archives_per_job=2,
        modules=("cuda/12.4", "odd name"),
        mail_user="lab@example.org",
        extra=("--nice=100", "--exclusive"),
        finish_partition="small",
        finish_extra=("--nice=0",),
    ),
    container=Container(image="/images/audioctl.sif", binds=("/data:/input:ro",), environment=("MY_KEY", "MY_SITE_*")),
    transcribe=Transcribe(model="/models/large-v3-turbo"),
    upload=Upload(destination="/archive", ssh_key="/home/lab/.ssh/id"),
)

UNREADABLE = """it's "the" $(touch stolen) `day` #1 of %A! & {{ more }}; *\u202fé"""
HOSTILE = Settings(
    paths=Paths(state_dir=f"/{UNREADABLE}", scratch=f"/scratch {UNREADABLE}"),
    slurm=Slurm(partition=UNREADABLE, account=f"\\{UNREADABLE}", modules=(UNREADABLE,)),
    container=Container(image=f"/{UNREADABLE}.sif", binds=(f"/{UNREADABLE}",)),
    upload=Upload(destination=f"/archive/{UNREADABLE}"),
)

Renderer = Callable[[ScriptRequest], str]


def render_first_array(request: ScriptRequest) -> str:
    return render_array(request, "0")


def render_short_check(request: ScriptRequest) -> str:
    return render_doctor(request, "00:10:00")


ALL_SCRIPTS: list[Renderer] = [render_job, render_first_array, render_finish, render_short_check]
SLURM_SCRIPTS: list[Renderer] = [render_first_array, render_finish, render_short_check]


def request_with(settings: Settings = PLAIN) -> ScriptRequest:
    """Three archives with fixed paths, for looking at the text."""
    run_id = "20250126T080000Z-ab12"
    return ScriptRequest(
        folder=Path(settings.paths.state_dir) / "runs" / "2025-01-25" / run_id,
        run_id=run_id,
        day="2025-01-25",
        archives=THREE_ARCHIVES,
        settings=settings,
        max_concurrent=8,
        python="/opt/audioctl/bin/python",
    )


# --- the text -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "render", "settings"),
    [
        ("job.sh", render_job, PLAIN),
        ("array.sbatch", render_first_array, PLAIN),
        ("container.sbatch", render_first_array, EVERYTHING),
        ("finish.sbatch", render_finish, EVERYTHING),
        ("doctor.sbatch", render_short_check, EVERYTHING),
    ],
)
def test_the_script_is_as_expected(
    name: str, render: Renderer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audioctl.templates.__version__", "1.2.3")
    script = render(request_with(settings))

    if "REWRITE_GOLDEN" in os.environ:
        (GOLDEN / name).write_text(script)
    assert script == (GOLDEN / name).read_text(), "If the change is meant, see the beginning of this file."


@pytest.mark.parametrize("settings", [PLAIN, EVERYTHING, HOSTILE], ids=["plain", "everything", "hostile"])
@pytest.mark.parametrize("render", ALL_SCRIPTS)
def test_neither_bash_nor_shellcheck_has_anything_to_say(render: Renderer, settings: Settings) -> None:
    script = render(request_with(settings))
    # Names that look as if they were meant to be expanded are what it warns of.
    names = ["--exclude=SC2016"] if settings is HOSTILE else []

    for checker in (["bash", "-n"], ["shellcheck", "--norc", *names, "-"]):
        checked = subprocess.run(checker, input=script, capture_output=True, text=True)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.mark.parametrize("render", SLURM_SCRIPTS)
def test_every_sbatch_line_stands_before_the_first_command(render: Renderer) -> None:
    lines = render(request_with(EVERYTHING)).splitlines()

    first_command = next(index for index, line in enumerate(lines) if line and not line.startswith("#"))
    assert [line for line in lines[first_command:] if line.startswith("#SBATCH")] == []


def test_each_part_of_an_array_that_was_split_has_its_own_archives() -> None:
    archives = [(slot, path, job) for (slot, path, _), job in zip(THREE_ARCHIVES, ("0_0", "0_1", "1_0"), strict=True)]
    request = replace(request_with(), archives=archives)

    for part, last_task, slots in (("0", 1, ["12_30", "12_40"]), ("1", 0, ["12_50"])):
        script = render_array(request, part)
        assert f"#SBATCH --job-name=audioctl-{request.run_id}-{part}\n" in script
        assert f"#SBATCH --array=0-{last_task}%8\n" in script
        assert re.findall(r"^  (\d\d_\d\d)$", script, re.MULTILINE) == slots
        assert re.findall(r"_(\d\d_\d\d)\.tar\.xz$", script, re.MULTILINE) == slots


def test_the_job_that_finishes_the_day_knows_all_parts_and_asks_for_no_gpu() -> None:
    script = render_finish(request_with(EVERYTHING))

    assert re.findall(r"^  (\d\d_\d\d)$", script, re.MULTILINE) == ["12_30", "12_40", "12_50"]
    assert not re.search("^#SBATCH --(gpus|gres|constraint|array)", script, re.MULTILINE)
    assert "#SBATCH --partition=small\n" in script


def test_no_mail_is_asked_for_without_an_address() -> None:
    assert "--mail" not in render_finish(request_with(PLAIN))


# --- quotes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("render", SLURM_SCRIPTS)
@pytest.mark.parametrize("name", ["partition", "account", "qos", "reservation", "exclude"])
@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("h100", "h100"),
        ("a b", '"a b"'),
        ('a"b', '"a\\"b"'),
        ("it's", '"it\'s"'),
        ("a\\b", '"a\\\\b"'),
        ("a#b", '"a#b"'),
    ],
)
def test_a_value_is_quoted_as_sbatch_reads_it(render: Renderer, name: str, value: str, quoted: str) -> None:
    script = render(request_with(Settings(slurm=Slurm(**{name: value}))))  # type: ignore[arg-type]

    assert f"#SBATCH --{name}={quoted}\n" in script


def test_a_percent_sign_in_the_folder_is_no_pattern_of_slurm() -> None:
    request = replace(request_with(), folder=Path("/100%d"))

    assert "#SBATCH --output=/100%%d/logs/slurm-%A_%a.log\n" in render_array(request, "0")
    assert "#SBATCH --output=/100%%d/logs/finish-%j.log\n" in render_finish(request)
    assert "#SBATCH --chdir=/100%d\n" in render_finish(request)


@pytest.mark.parametrize("render", SLURM_SCRIPTS)
def test_a_folder_whose_logs_slurm_could_not_name_is_an_error(render: Renderer) -> None:
    with pytest.raises(ConfigurationError, match="backslash"):
        render(replace(request_with(), folder=Path("/back\\slash")))


@pytest.mark.parametrize("render", SLURM_SCRIPTS)
@pytest.mark.parametrize(
    "settings",
    [
        Settings(slurm=Slurm(partition="gpu\ntouch x")),
        Settings(slurm=Slurm(extra=("--hold\nrm x",), finish_extra=("--hold\nrm x",))),
        Settings(paths=Paths(state_dir="/two\nlines")),
    ],
)
def test_a_setting_cannot_smuggle_a_line_into_the_script(render: Renderer, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="more than one line"):
        render(request_with(settings))


# --- containers -----------------------------------------------------------------------------------


def test_a_folder_that_no_bind_can_name_is_an_error() -> None:
    settings = Settings(paths=Paths(state_dir="/a:b"), container=Container(image="/i.sif"))

    with pytest.raises(ConfigurationError, match="/a:b cannot be shown inside a container"):
        render_job(request_with(settings))


@pytest.mark.parametrize("name", ["", "*", "A B", "A=1", "2ND", "A*B", "A[12]", "$(touch x)", "A)", "A\n", "Ä"])
def test_what_cannot_name_variables_is_refused(name: str) -> None:
    settings = Settings(container=Container(image="/i.sif", environment=(name,)))

    with pytest.raises(ConfigurationError, match=f"^{re.escape(repr(name))} names no variables"):
        render_job(request_with(settings))


# --- the user's own templates ---------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder for templates of the user's."""
    folder = tmp_path / "own templates"
    folder.mkdir()
    return folder


def with_templates(folder: Path) -> ScriptRequest:
    return request_with(Settings(paths=Paths(templates=str(folder))))


def test_our_templates_are_found() -> None:
    assert {path.name for path in templates_path().iterdir()} == {
        "array.sbatch.j2",
        "base.sh.j2",
        "doctor.sbatch.j2",
        "finish.sbatch.j2",
        "job.sh.j2",
    }


@pytest.mark.parametrize("name", ["job.sh.j2", "array.sbatch.j2", "finish.sbatch.j2"])
def test_a_user_can_replace_a_part_of_one_script(name: str, own: Path) -> None:
    (own / name).write_text(
        f'{{% extends "shipped/{name}" %}}\n'
        "{% block modules %}\nexport HELLO={{ run_id | shquote }}\n{{ super() }}\n{% endblock %}\n"
    )

    scripts = {
        "job.sh.j2": render_job(with_templates(own)),
        "array.sbatch.j2": render_array(with_templates(own), "0"),
        "finish.sbatch.j2": render_finish(with_templates(own)),
    }

    assert {template for template, script in scripts.items() if "export HELLO=20250126T" in script} == {name}
    assert f"from '{own / name}'" in scripts[name].splitlines()[1]
    assert all("process-tar" in script for script in scripts.values())


def test_a_part_that_all_scripts_have_is_replaced_in_one_place(own: Path) -> None:
    (own / "base.sh.j2").write_text(
        '{% extends "shipped/base.sh.j2" %}\n{% block modules %}\nmodule purge\n{% endblock %}\n'
    )
    # Ours extends base.sh.j2, which then is the user's, even where the user reaches it by way of ours.
    (own / "array.sbatch.j2").write_text(
        '{% extends "shipped/array.sbatch.j2" %}\n{% block about %}\n# Our array.\n{% endblock %}\n'
    )

    for render in ALL_SCRIPTS:
        assert "\nmodule purge\n" in render(with_templates(own))
    array = render_array(with_templates(own), "0")
    assert "\n# Our array.\n" in array
    assert f"from '{own}/array.sbatch.j2' and '{own}/base.sh.j2'" in array.splitlines()[1]


def test_what_is_shipped_cannot_be_hidden(own: Path) -> None:
    (own / "shipped").mkdir()
    (own / "shipped" / "job.sh.j2").write_text("something else")
    (own / "job.sh.j2").write_text('{% extends "shipped/job.sh.j2" %}')

    assert "process-tar" in render_job(with_templates(own))


def test_the_templates_that_were_used_can_be_told(own: Path) -> None:
    ours = templates_path()

    assert templates_used(PLAIN) == [ours / "array.sbatch.j2", ours / "finish.sbatch.j2", ours / "base.sh.j2"]
    (own / "finish.sbatch.j2").write_text('{% extends "shipped/finish.sbatch.j2" %}')
    (own / "base.sh.j2").write_text('{% extends "shipped/base.sh.j2" %}')
    assert set(templates_used(Settings(paths=Paths(templates=str(own))))) == {
        *(own / "finish.sbatch.j2", own / "base.sh.j2"),
        *(ours / "array.sbatch.j2", ours / "finish.sbatch.j2", ours / "base.sh.j2"),
    }


def test_a_part_that_may_be_missing_is_no_fault(own: Path) -> None:
    (own / "array.sbatch.j2").write_text('{% include "site.sh" ignore missing %}\n{% include "shipped/base.sh.j2" %}')

    assert own / "array.sbatch.j2" in templates_used(Settings(paths=Paths(templates=str(own))))
    assert "#!/bin/bash" in render_array(with_templates(own), "0")


def test_the_name_of_a_template_cannot_end_the_comment_that_tells_it(tmp_path: Path) -> None:
    own = tmp_path / "two\nlines"
    own.mkdir()
    (own / "job.sh.j2").write_text('{% extends "shipped/job.sh.j2" %}')

    assert "\\nlines/job.sh.j2'" in render_job(with_templates(own)).splitlines()[1]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("#!/bin/bash\n{{ partition }}\n", "{own}/job.sh.j2, line 2: 'partition' is undefined"),
        ("#!/bin/bash\n{{ partition | shquote }}\n", "{own}/job.sh.j2, line 2: 'partition' is undefined"),
        ("a\n{% if %}\n", "{own}/job.sh.j2, line 2: Expected an expression"),
        ("a\n{{ day | quote }}\n", "{own}/job.sh.j2, line 2: No filter named 'quote'"),
        ("a\n\n{{ day + 1 }}\n", "{own}/job.sh.j2, line 3: can only concatenate str"),
        ('{% extends "base.j2" %}\n', "{own}/job.sh.j2, line 1: there is no template 'base.j2'"),
        ('{% extends "job.sh.j2" %}\n', "{own}/job.sh.j2, line 1: it extends itself"),
        ('{% extends "shipped/job.sh.j2" %}\n{% block main %}\n{{ x }}{% endblock %}', "{own}/job.sh.j2, line 3: 'x'"),
    ],
)
def test_a_fault_in_a_users_template_is_named_with_its_place(template: str, message: str, own: Path) -> None:
    (own / "job.sh.j2").write_text(template)

    with pytest.raises(ConfigurationError) as raised:
        render_job(with_templates(own))

    assert f"cannot be made: {message.format(own=own)}" in raised.value.message
    assert str(templates_path()) in (raised.value.hint or "")


def test_a_fault_is_named_by_who_only_asks_which_templates_are_used(own: Path) -> None:
    (own / "array.sbatch.j2").write_text("{% if %}")

    with pytest.raises(ConfigurationError, match=r"array\.sbatch\.j2, line 1: Expected an expression"):
        templates_used(Settings(paths=Paths(templates=str(own))))


def test_a_template_that_is_no_text_is_an_error(own: Path) -> None:
    (own / "job.sh.j2").write_bytes(b"caf\xe9")

    with pytest.raises(ConfigurationError, match="codec can't decode"):
        render_job(with_templates(own))


def test_a_template_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        render_job(with_templates(tmp_path / "none"))
