"""Files that are made of settings: what is written and frozen, the example, the document."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
from configurations import load, load_file, write
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from audioctl.configuration import dump_toml, freeze, is_remote
from audioctl.settings import KEYS, Container, Key, Paths, Settings, Transcribe, Upload, format_size, parse_size
from audioctl.settings_reference import example_toml, reference_markdown

DOCUMENT = Path(__file__).parent.parent / "docs" / "configuration.md"

pytestmark = pytest.mark.usefixtures("folder")


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
