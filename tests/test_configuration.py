"""Settings: the layers they come from, and the errors a person can make."""

from pathlib import Path

import pytest
from configurations import load, load_file, write

from audioctl.errors import ConfigurationError
from audioctl.settings import Settings, Upload

pytestmark = pytest.mark.usefixtures("folder")


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


def test_a_number_is_taken_for_text_where_one_is_wanted(folder: Path) -> None:
    write(folder / "audioctl.toml", "[slurm]\ngpus = 2\nmem = 96000\n[transcribe]\nwindow = 15\n")

    settings = load().settings

    assert (settings.slurm.gpus, settings.slurm.mem, settings.transcribe.window) == ("2", "96000", "15")


@pytest.mark.parametrize("window", ['"short"', "5", "31", '"15 s"'])
def test_windows_are_no_shorter_and_no_longer_than_is_known_to_work(folder: Path, window: str) -> None:
    write(folder / "audioctl.toml", f"[transcribe]\nwindow = {window}\n")

    assert "transcribe.window is" in error_of().message
