"""Settings: the layers they come from, the errors a person can make, and the texts made from them."""

import contextlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect
from typer.testing import CliRunner, Result

from audioctl.cli.config import register
from audioctl.cli.context import CliContext
from audioctl.configuration import LoadedSettings, config_files, dump_toml, freeze, is_remote, load_settings
from audioctl.errors import ConfigurationError
from audioctl.settings import KEYS, Container, Key, Paths, Settings, Transcribe, Upload, format_size, parse_size
from audioctl.settings_reference import example_toml, reference_markdown

DOCUMENT = Path(__file__).parent.parent / "docs" / "configuration.md"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and homes of user and site settings that are ours."""
    for name in [name for name in os.environ if name.startswith("AUDIOCTL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return project


def load(flags: Mapping[str, object] | None = None, /, **environ: str) -> LoadedSettings:
    return load_settings(flags, config_file=None, environ=environ, cwd=Path.cwd())


def load_file(path: Path, /, **environ: str) -> LoadedSettings:
    return load_settings(config_file=path, environ=environ, cwd=Path.cwd())


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def error_of(**environ: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load(**environ)
    return caught.value


# --- layers ---------------------------------------------------------------------------------------


def test_with_no_file_everything_is_local_and_without_a_database() -> None:
    loaded = load()

    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.settings.submit.executor == "local"
    assert loaded.settings.paths.state_dir == "./audioctl-state"
    assert loaded.settings.upload.destination == "./audioctl-storage"
    assert not loaded.settings.database.enabled


def test_each_layer_wins_over_the_ones_below_it(folder: Path, tmp_path: Path) -> None:
    def value() -> tuple[int, str]:
        loaded = load(flags, **environ)
        return loaded.settings.upload.upload_timeout, loaded.origins["upload.upload_timeout"]

    flags: dict[str, object] = {}
    environ: dict[str, str] = {}
    site = write(tmp_path / "site/audioctl/config.toml", "[upload]\nupload_timeout = 1\n")
    assert value() == (1, str(site))
    user = write(tmp_path / "user/audioctl/config.toml", "[upload]\nupload_timeout = 2\n")
    assert value() == (2, str(user))
    project = write(folder / "audioctl.toml", "[upload]\nupload_timeout = 3\n")
    assert value() == (3, str(project))
    environ["AUDIOCTL_UPLOAD__UPLOAD_TIMEOUT"] = "4"
    assert value() == (4, "AUDIOCTL_UPLOAD__UPLOAD_TIMEOUT")
    flags["upload.upload_timeout"] = 5
    assert value() == (5, "flag --upload-timeout")


def test_layers_are_joined_key_by_key(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "user/audioctl/config.toml", '[slurm]\naccount = "birds"\npartition = "gpu"\n')
    write(folder / "audioctl.toml", '[slurm]\npartition = "debug"\n')

    slurm = load().settings.slurm

    assert (slurm.account, slurm.partition) == ("birds", "debug")


def test_a_flag_that_was_not_given_changes_nothing() -> None:
    loaded = load({"upload.attempts": None}, AUDIOCTL_UPLOAD__ATTEMPTS="7")

    assert loaded.settings.upload.attempts == 7


def test_a_flag_may_be_a_path() -> None:
    assert load({"paths.archives": Path("/staging")}).settings.paths.archives == "/staging"


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_chosen_file_takes_the_place_of_all_files(how: str, folder: Path, tmp_path: Path) -> None:
    write(folder / "audioctl.toml", "[upload]\nattempts = 9\n")
    chosen = write(tmp_path / "chosen.toml", "[upload]\nupload_timeout = 7\n")

    loaded = load_file(chosen) if how == "option" else load(AUDIOCTL_CONFIG=str(chosen))

    assert loaded.settings.upload == Upload(upload_timeout=7)


def test_a_chosen_file_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml does not exist"):
        load_file(tmp_path / "nowhere.toml")


def test_variables_win_over_a_chosen_file_but_not_over_a_frozen_one(tmp_path: Path) -> None:
    chosen = write(tmp_path / "config.toml", "[upload]\nattempts = 2\n")
    assert load_file(chosen, AUDIOCTL_UPLOAD__ATTEMPTS="3").settings.upload.attempts == 3

    chosen.write_text("frozen = true\n" + chosen.read_text())
    frozen = load_file(chosen, AUDIOCTL_UPLOAD__ATTEMPTS="3", AUDIOCTL_NO__SUCH="x")
    assert frozen.settings.upload.attempts == 2
    assert frozen.origins["upload.attempts"] == str(chosen)


# --- values of environment variables --------------------------------------------------------------


@pytest.mark.parametrize("text", ["true", "1", "yes", "ON", " Yes "])
def test_a_variable_says_yes_in_many_ways(text: str) -> None:
    assert load(AUDIOCTL_DATABASE__ENABLED=text).settings.database.enabled is True


@pytest.mark.parametrize("text", ["false", "0", "no", "Off"])
def test_a_variable_says_no_in_many_ways(text: str) -> None:
    assert load(AUDIOCTL_TRANSCRIBE__VAD=text).settings.transcribe.vad is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [("en,de", ("en", "de")), (" en , de,", ("en", "de")), ("", ()), ('["a,b", "c"]', ("a,b", "c"))],
)
def test_a_list_in_a_variable(text: str, expected: tuple[str, ...]) -> None:
    assert load(AUDIOCTL_TRANSCRIBE__LANGUAGES=text).settings.transcribe.languages == expected


@pytest.mark.parametrize(("text", "expected"), [("2G", 2 * 1024**3), ("512m", 512 * 1024**2), ("1000", 1000)])
def test_a_size_in_a_variable(text: str, expected: int) -> None:
    assert load(AUDIOCTL_EXTRACT__MAX_MEMBER_SIZE=text).settings.extract.max_member_size == expected


def test_a_variable_without_a_double_underscore_is_no_setting() -> None:
    assert load(AUDIOCTL_FAILPOINT="x", SOME__THING="y").settings == Settings()


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[upload]\ndestinaton = 'x'\n", ["'destinaton'", "[upload]", "upload.destination"]),
        ("[upload]\nbitrate = 1\n", ["'bitrate'", "[upload]", "convert.bitrate"]),
        ("[uplaod]\ndestination = 'x'\n", ["'uplaod'", "the nearest is upload."]),
        ("destination = 'x'\n", ["'destination'", "the nearest is upload.destination."]),
        ("upload = 3\n", ["'upload'", "must be a section"]),
        ("frozen = 'yes'\n", ["frozen", "true or false"]),
        ("[upload]\nattempts = many\n", ["not valid TOML", "line 2"]),
    ],
)
def test_an_error_in_a_file_names_the_file_the_key_and_the_way_out(text: str, named: list[str], folder: Path) -> None:
    path = write(folder / "audioctl.toml", text)

    message = error_of().message

    assert [part for part in [str(path), *named] if part not in message] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[upload]\nattempts = 0\n", "upload.attempts is 0 in {}, but it must be a whole number, at least 1."),
        ("[upload]\nattempts = '3'\n", 'upload.attempts is "3" in {}, but it must be a whole number, at least 1.'),
        ("[convert]\nbitrate = 5\n", "convert.bitrate is 5 in {}, but it must be a whole number from 6000 to 510000."),
        ("[submit]\nexecutor = 'pbs'\n", 'submit.executor is "pbs" in {}, but it must be one of "local", "slurm".'),
        ("[transcribe]\nvad = 1\n", "transcribe.vad is 1 in {}, but it must be true or false."),
        ("[slurm]\ntime = 02:00:00\n", "slurm.time is 02:00:00 in {}, but it must be text."),
        ("[slurm]\nmodules = 'cuda'\n", 'slurm.modules is "cuda" in {}, but it must be a list of texts.'),
        (
            "[extract]\nspool_above = 'big'\n",
            'extract.spool_above is "big" in {}, but it must be a size such as "512M", or a number of bytes.',
        ),
        ("[database]\nenabled = 'yes'\n", 'database.enabled is "yes" in {}, but it must be true or false.'),
    ],
)
def test_a_wrong_value_is_named_with_what_is_wanted(text: str, message: str, folder: Path) -> None:
    path = write(folder / "audioctl.toml", text)

    assert error_of().message == message.format(path)


def test_the_hint_tells_the_default() -> None:
    assert error_of(AUDIOCTL_UPLOAD__ATTEMPTS="-1").hint == "Correct upload.attempts, or remove it to have 5."


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        (
            "AUDIOCTL_UPLOAD__DESTINATOIN",
            "x",
            "There is no setting for the variable AUDIOCTL_UPLOAD__DESTINATOIN; "
            "the nearest is AUDIOCTL_UPLOAD__DESTINATION.",
        ),
        (
            "AUDIOCTL_CONVERT__NUM_WORKERS",
            "many",
            'convert.num_workers is "many" in AUDIOCTL_CONVERT__NUM_WORKERS, '
            "but it must be a whole number, at least 1.",
        ),
        (
            "AUDIOCTL_PATHS__SCRATCH",
            "caf\udce9",
            "paths.scratch in AUDIOCTL_PATHS__SCRATCH is not valid UTF-8.",
        ),
    ],
)
def test_a_wrong_variable_is_named(variable: str, text: str, message: str) -> None:
    assert error_of(**{variable: text}).message == message


def test_a_file_that_is_no_text_is_an_error(folder: Path) -> None:
    (folder / "audioctl.toml").write_bytes(b"\xff\xfe[upload]")

    assert "is not UTF-8 text" in error_of().message


def test_a_file_that_cannot_be_read_is_an_error_and_not_passed_over(folder: Path) -> None:
    (folder / "audioctl.toml").mkdir()

    assert "cannot be read: Is a directory" in error_of().message


def test_a_number_is_taken_for_text_where_slurm_wants_one(folder: Path) -> None:
    write(folder / "audioctl.toml", "[slurm]\ngpus = 2\nmem = 96000\n")

    slurm = load().settings.slurm

    assert (slurm.gpus, slurm.mem) == ("2", "96000")


# --- writing and freezing -------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def values_of(key: Key) -> st.SearchStrategy[Any]:
    declared = get_args(key.type)[0]
    if get_origin(declared) is Literal:
        return st.sampled_from(get_args(declared))
    match key.plain_type:
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType(ge=least, le=most):
            return st.integers(least, most or 2**62)
        case inspect.VarTupleType():
            return st.lists(TEXTS).map(tuple)
        case inspect.StrType(pattern=str(pattern)):
            return st.from_regex(pattern, fullmatch=True).filter(lambda text: not text.endswith("\n"))
    return TEXTS.filter(lambda text: not text.startswith("~"))


@st.composite
def all_settings(draw: st.DrawFn) -> Settings:
    sections: dict[str, dict[str, object]] = {key.section: {} for key in KEYS.values()}
    for key in KEYS.values():
        sections[key.section][key.name] = draw(values_of(key))
    return msgspec.convert(sections, type=Settings)


@given(settings=all_settings(), frozen=st.booleans())
def test_a_written_file_loads_back_equal(
    settings: Settings, frozen: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("dump") / "config.toml"
    path.write_bytes(dump_toml(settings, frozen=frozen).encode())

    loaded = load_file(path)

    assert loaded.settings == settings
    assert set(loaded.origins.values()) == {str(path)}


@given(st.integers(1, 2**60))
def test_a_size_reads_back_as_it_was_written(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes)) == size_bytes


def test_freezing_makes_local_paths_absolute_and_nothing_else(folder: Path) -> None:
    frozen = freeze(
        Settings(paths=Paths(scratch="fast"), container=Container(image="audioctl.sif"), upload=Upload(ssh_key="/k")),
        folder,
    )

    assert frozen == Settings(
        paths=Paths(
            archives=f"{folder}/archives/{{day}}", scratch=f"{folder}/fast", state_dir=f"{folder}/audioctl-state"
        ),
        container=Container(image=f"{folder}/audioctl.sif"),
        upload=Upload(destination=f"{folder}/audioctl-storage", ssh_key="/k"),
    )
    assert freeze(frozen, Path("/elsewhere")) == frozen


@pytest.mark.parametrize("destination", ["user@host:path", "host:/a", "rsync://host/module", "host::module/x"])
def test_a_remote_destination_stays_when_frozen(destination: str, folder: Path) -> None:
    assert is_remote(destination)
    assert freeze(Settings(upload=Upload(destination=destination)), folder).upload.destination == destination


def test_a_local_folder_with_a_colon_is_not_remote() -> None:
    assert not is_remote("./a:b")
    assert not is_remote("/data/a:b")


def test_the_name_of_a_model_stays_when_frozen_and_its_folder_does_not(folder: Path) -> None:
    (folder / "mine").mkdir()

    def frozen(model: str) -> str:
        return freeze(Settings(transcribe=Transcribe(model=model)), folder).transcribe.model

    assert frozen("large-v3") == "large-v3"
    assert frozen("Systran/faster-whisper-tiny") == "Systran/faster-whisper-tiny"
    assert frozen("mine") == f"{folder}/mine"
    assert frozen("./later") == f"{folder}/later"


def test_a_path_that_begins_with_a_variable_stays_when_frozen(folder: Path) -> None:
    frozen = freeze(Settings(paths=Paths(archives="$STAGING/{day}")), folder)

    assert frozen.paths.archives == "$STAGING/{day}"


def test_a_tilde_is_the_home_folder(tmp_path: Path) -> None:
    assert load(AUDIOCTL_PATHS__STATE_DIR="~/state").settings.paths.state_dir == f"{tmp_path}/home/state"


# --- texts for people -----------------------------------------------------------------------------


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text() == reference_markdown(), "run: audioctl config reference > docs/configuration.md"


def test_every_key_of_the_example_is_commented_out() -> None:
    assert [entries for entries in tomllib.loads(example_toml()).values() if entries] == []


def test_the_example_without_its_comment_marks_is_the_defaults(folder: Path) -> None:
    names = {key.name for key in KEYS.values()}
    lines = [
        line.removeprefix("# ") if line.removeprefix("# ").partition(" = ")[0] in names else line
        for line in example_toml().splitlines()
    ]
    path = write(folder / "audioctl.toml", "\n".join(lines))

    loaded = load()

    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {str(path)}


def test_settings_are_light_to_import() -> None:
    heavy = "import sys, audioctl.configuration; print({'numpy', 'torch', 'pydantic', 'typer'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


# --- commands -------------------------------------------------------------------------------------


def run(*arguments: str, config_file: Path | None = None) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, arguments, obj=CliContext(config_file), catch_exceptions=True)


def read_terminal(descriptor: int) -> str:
    """All that is printed on a pseudo-terminal until its other end is closed, without colours."""
    output = b""
    with contextlib.suppress(OSError):  # EIO is its way to say the end
        while chunk := os.read(descriptor, 65536):
            output += chunk
    os.close(descriptor)
    return re.sub(r"\x1b\[[\d;]*m", "", output.decode())


def test_init_writes_a_file_that_changes_nothing(folder: Path) -> None:
    done = run("init")

    assert done.exit_code == 0
    assert (done.stdout, done.stderr) == (
        "",
        "Wrote audioctl.toml. Nothing in it needs to be changed to begin with.\n",
    )
    assert (folder / "audioctl.toml").read_text() == example_toml()
    assert load().settings == Settings()


def test_init_keeps_a_file_that_exists_unless_forced(folder: Path) -> None:
    existing = write(folder / "audioctl.toml", "mine")

    refused = run("init")
    assert isinstance(refused.exception, ConfigurationError)
    assert refused.exception.message == "audioctl.toml exists already."
    assert existing.read_text() == "mine"

    assert run("init", "--force").exit_code == 0
    assert existing.read_text() == example_toml()


def test_init_can_show_what_it_would_write(folder: Path) -> None:
    done = run("init", "--dry-run")

    assert done.stdout == example_toml()
    assert list(folder.iterdir()) == []


def test_init_in_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    failed = run("init", config_file=tmp_path / "none" / "config.toml")

    assert isinstance(failed.exception, ConfigurationError)
    assert "cannot be written: No such file or directory" in failed.exception.message


def test_show_prints_lines_that_are_toml(folder: Path) -> None:
    write(folder / "audioctl.toml", "[upload]\nattempts = 9\n")

    shown = tomllib.loads(run("config", "show").stdout)

    assert shown["upload"]["attempts"] == 9
    assert [dotted for dotted, key in KEYS.items() if key.name not in shown[key.section]] == []


def test_show_says_where_each_value_comes_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder / "audioctl.toml", "[upload]\nattempts = 9\n")
    monkeypatch.setenv("AUDIOCTL_SLURM__MODULES", "cuda,ffmpeg")

    lines = run("config", "show", "--origin").stdout.splitlines()

    assert f"upload.attempts = 9   # {path}" in lines
    assert 'slurm.modules = ["cuda", "ffmpeg"]   # AUDIOCTL_SLURM__MODULES' in lines
    assert "upload.upload_timeout = 120   # default" in lines


def test_show_is_a_table_on_a_terminal() -> None:
    """A real terminal: the file descriptor is a pseudo-terminal."""
    program = "import typer; from audioctl.cli.config import register; app = typer.Typer(); register(app); app()"
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program, "config", "show", "--origin"],
        stdout=theirs,
        env={**os.environ, "COLUMNS": "200", "AUDIOCTL_SLURM__MODULES": "bold"},
    )
    os.close(theirs)
    shown = read_terminal(ours)

    assert process.wait() == 0
    assert re.search(r"setting +value +from", shown)
    assert re.search(r'slurm\.modules +\["bold"\] +AUDIOCTL_SLURM__MODULES', shown)


def test_show_as_json(folder: Path) -> None:
    path = write(folder / "audioctl.toml", "[upload]\nattempts = 9\n")

    shown = json.loads(run("config", "show", "--json").stdout)

    assert shown["settings"]["upload"]["attempts"] == 9
    assert shown["settings"]["extract"]["max_member_size"] == 1024**3
    assert shown["origins"]["upload.attempts"] == str(path)


def test_path_lists_the_files_and_whether_they_exist(folder: Path, tmp_path: Path) -> None:
    project = write(folder / "audioctl.toml", "")

    assert run("config", "path").stdout.splitlines() == [
        f"found    {project}",
        f"missing  {tmp_path}/user/audioctl/config.toml",
        f"missing  {tmp_path}/site/audioctl/config.toml",
    ]
    assert json.loads(run("config", "path", "--json").stdout)["files"][0] == {"path": str(project), "exists": True}


def test_path_names_only_the_chosen_file(tmp_path: Path) -> None:
    chosen = tmp_path / "run" / "config.toml"

    assert config_files(config_file=chosen, environ={}, cwd=Path.cwd()) == [chosen]
    assert run("config", "path", config_file=chosen).stdout == f"missing  {chosen}\n"
