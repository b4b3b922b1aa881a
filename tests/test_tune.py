"""`audioctl tune`: what it measures, the sample, and what it says. ``test_ways`` has what it recommends of that."""

from __future__ import annotations

import json
import re
import signal
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from archives import COMPRESSORS, file_entry, tar_bytes, write_archive
from measured_ways import CLIP_SECONDS, CLIPS, CONFIGURED, GREEDY, REFERENCE, SAID, SHORT, measured, tuned
from speech import silent_clip
from workspace import Workspace, spoken, wait_until

from audioctl.cli.tune import _print
from audioctl.clips import SAMPLE_RATE, ConvertedClip, Member, OpusFile, Segment, Window, WindowTranscript
from audioctl.engines.loading import BEAMS, load_model
from audioctl.engines.whisper import WhisperOptions
from audioctl.errors import ArchiveDamagedError, ArchiveError, ModelError
from audioctl.sampling import Sample, draw_sample
from audioctl.settings import Transcribe
from audioctl.states import ExitCode
from audioctl.tuning import MOST_HEARINGS, Tuning, other_compute_types, variations
from audioctl.ways import Measured, Tuned, Way, recommend

# Measuring, with a recogniser that can be told how fast it is and what it hears


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class StandIn:
    """A model of which ``cost`` tells the seconds for a window, and ``hear`` the words. It fits as many windows as
    ``fits`` says."""

    clock: Clock
    compute_type: str = "float32"
    cost: Callable[[WhisperOptions, str], float] = lambda options, _: options.shortest_frames / 3000
    hear: Callable[[WhisperOptions, str, int], str] = lambda *_: SAID
    fits: Callable[[WhisperOptions, str], int] = lambda *_: 1000
    device: str = "cpu"
    compute_types: list[str] = field(default_factory=lambda: ["float32", "int8", "int8_float32"])
    unloaded: bool = False

    def options(self, settings: Transcribe) -> WhisperOptions:
        frames = {"auto": 3000, "full": 3000, "longest": 1000}
        return WhisperOptions(
            window_batch_size=settings.window_batch_size or 4,
            beam_size=settings.beam_size or BEAMS[settings.profile],
            shortest_frames=frames.get(settings.window) or 100 * int(settings.window),
        )

    def engine(self, settings: Transcribe) -> StandInEngine:
        return StandInEngine(self, self.options(settings))

    def unload(self) -> None:
        self.unloaded = True


class StandInEngine:
    def __init__(self, model: StandIn, options: WhisperOptions) -> None:
        self.model = "stand-in"
        self.busy_seconds = 0.0
        self.windows_at_once = options.window_batch_size
        self._loaded = model
        self._options = options

    def transcribe(self, windows: Sequence[Window]) -> list[WindowTranscript]:
        loaded, options = self._loaded, self._options
        assert not loaded.unloaded
        fits = loaded.fits(options, loaded.compute_type)
        if fits == 0:
            raise ModelError("There is not enough memory.") from RuntimeError("CUDA out of memory")
        self.windows_at_once = min(self.windows_at_once, fits)
        loaded.clock.now += len(windows) * loaded.cost(options, loaded.compute_type)
        texts = [loaded.hear(options, loaded.compute_type, window.clip) for window in windows]
        return [WindowTranscript([Segment(0, 1, text, 0, 0, 1)], "en", 1.0) for text in texts]


def sample() -> Sample:
    def clip(number: int) -> ConvertedClip:
        window = Window(number, 0.0, np.zeros(int(CLIP_SECONDS * SAMPLE_RATE), np.int16))
        copy = OpusFile(number, Path("none"), "none", 0, "")
        return ConvertedClip(Member(number, f"{number}.mp3", "", 1, "", None), CLIP_SECONDS, [window], copy, False)

    return Sample([clip(number) for number in range(CLIPS)], members_read=4 * CLIPS)


@dataclass
class Bench:
    """``model`` makes what is loaded for a compute type; None is one that does not fit."""

    model: Callable[[str], StandIn | None]
    clock: Clock
    loads: list[str] = field(default_factory=list)
    loaded: list[StandIn] = field(default_factory=list)

    def load(self, settings: Transcribe) -> StandIn:
        assert all(model.unloaded for model in self.loaded), "two models would be in memory"
        self.loads.append(settings.compute_type)
        model = self.model(settings.compute_type)
        if model is None:
            raise ModelError("It cannot be loaded.") from RuntimeError("CUDA out of memory")
        self.loaded.append(model)
        return model

    def tune(self, budget_seconds: float = 1e6, **settings: object) -> Tuned:
        transcribe = Transcribe(model="stand-in", **settings)  # type: ignore[arg-type]
        found = Tuning(sample(), transcribe, self.load, budget_seconds, clock=self.clock).run()
        assert found is not None
        return found


def bench(default: str = "float32", **behaviour: object) -> Bench:
    clock = Clock()

    def model(compute_type: str) -> StandIn:
        made_of_it = default if compute_type == "default" else compute_type
        return StandIn(clock, made_of_it, **behaviour)  # type: ignore[arg-type]

    return Bench(model, clock)


def by_way(found: Tuned) -> dict[Way, Measured]:
    return {one.way: one for one in found.measured}


def test_short_windows_that_keep_the_words_are_recommended_whatever_the_number_format() -> None:
    found = bench().tune()
    same = recommend(found).same_words.way
    assert same.window == "longest"
    assert found.reference.way == found.configured.way  # full windows, 5 beams and float32 are what is configured


def test_a_fast_setting_that_changes_words_is_not_recommended_as_the_same() -> None:
    def hear(options: WhisperOptions, _: str, clip: int) -> str:
        return "one two three for five" if options.shortest_frames <= 1000 and clip == 0 else SAID

    found = bench(hear=hear).tune()
    recommended = recommend(found)
    assert recommended.same_words.way.window == "15"
    assert by_way(found)[replace(CONFIGURED, window="longest")].agreement == pytest.approx(0.99)
    assert recommended.nearly is not None
    assert recommended.nearly.way.window == "longest"


def test_a_number_format_that_changes_words_is_compared_with_the_most_exact_one() -> None:
    """What is configured changes words here, and short windows do not: so short windows with float32 it is."""
    wrong = bench(default="int8_float32", hear=lambda _, kind, __: SAID if kind == "float32" else "one")
    found = wrong.tune()
    assert found.reference.way == REFERENCE
    assert found.configured.agreement == pytest.approx(0.2)
    assert recommend(found).same_words.way == Way("longest", 5, 0, "float32")
    assert wrong.loads == ["default", "float32", "default", "float32"]


def test_a_model_is_loaded_once_for_each_number_format() -> None:
    right = bench()
    right.tune()
    assert right.loads == ["default", "int8_float32"]


def test_words_that_are_heard_by_chance_count_against_a_way() -> None:
    """A model that doubts draws words; once right is not the same words."""
    hearings: dict[int, int] = {}

    def hear(options: WhisperOptions, _: str, __: int) -> str:
        hearings[options.beam_size] = hearings.get(options.beam_size, 0) + 1
        return "one" if options.beam_size == 1 and hearings[1] > 2 * CLIPS else SAID

    found = bench(hear=hear, cost=lambda options, _: options.beam_size / 5).tune()
    assert by_way(found)[GREEDY].agreement < 1
    assert recommend(found).same_words.way.beam_size == 5


def test_what_does_not_fit_is_a_result() -> None:
    found = bench(fits=lambda *_: 6).tune()
    assert "6 windows do" in by_way(found)[replace(CONFIGURED, window_batch_size=8)].failed
    assert by_way(found)[replace(CONFIGURED, window_batch_size=2)].speed
    assert recommend(found).same_words.way.window_batch_size == 0


def test_a_number_format_that_cannot_be_loaded_is_a_result_and_tried_once() -> None:
    clock = Clock()
    without_int8 = Bench(lambda kind: None if kind == "int8_float32" else StandIn(clock), clock)
    found = without_int8.tune()
    failed = [one for one in found.measured if one.failed]
    assert {(one.way.compute_type, one.failed) for one in failed} == {("int8_float32", "does not fit")}
    assert without_int8.loads.count("int8_float32") == 1
    assert recommend(found).same_words.way.window == "longest"


def test_where_the_most_exact_format_does_not_fit_the_configured_one_is_the_reference() -> None:
    clock = Clock()
    small = Bench(lambda kind: None if kind == "float32" else StandIn(clock, "int8_float32"), clock)
    found = small.tune()
    assert (found.reference.way.compute_type, found.reference.agreement) == ("default", 1)


def test_a_sample_that_cannot_be_heard_at_all_is_an_error_with_a_hint() -> None:
    with pytest.raises(ModelError, match="cannot hear the sample: does not fit") as raised:
        bench(fits=lambda *_: 0).tune()
    assert raised.value.hint


def test_without_time_only_the_reference_and_what_is_configured_are_heard() -> None:
    found = bench(default="int8_float32").tune(budget_seconds=0)
    assert [one.way for one in found.measured] == [REFERENCE, CONFIGURED]
    assert [len(one.seconds) for one in found.measured] == [1, 1]
    assert replace(CONFIGURED, window="longest") in found.left_out


def test_with_time_each_way_is_heard_several_times() -> None:
    found = bench().tune()
    assert min(len(one.seconds) for one in found.measured) == MOST_HEARINGS


@pytest.mark.parametrize("after", [0, 1, 3, 9, 17])
def test_it_can_be_stopped_between_any_two_hearings(after: int) -> None:
    right = bench(default="int8_float32")
    said: list[str] = []

    def heard() -> int:
        return sum("hearing" in what for what in said)

    settings = Transcribe(model="stand-in")
    tuning = Tuning(sample(), settings, right.load, 1e6, lambda: heard() >= after, said.append, right.clock)
    found = tuning.run()
    assert heard() == after
    if found is None:
        assert after == 0
    else:
        assert found.ended_early
        assert sum(len(one.seconds) for one in found.measured) == after
        assert recommend(found).same_words.speed


def test_variations_that_come_to_the_same_are_left_out() -> None:
    one_by_one = Transcribe(window="10", beam_size=1, window_batch_size=1)
    ways = variations(Way.of(one_by_one), StandIn(Clock()), one_by_one, windows=100)
    assert [way.window for way in ways if way.window != "10"] == ["15", "20", "full"]  # longest is 10 for this model
    assert [way.window_batch_size for way in ways if way.window_batch_size != 1] == [2, 0]
    assert [way.beam_size for way in ways if way.beam_size != 1] == [5]


@pytest.mark.parametrize(("windows", "sizes"), [(1, []), (2, []), (3, [2]), (4, [2]), (5, [8, 2])])
def test_batches_that_the_sample_does_not_fill_are_left_out(windows: int, sizes: list[int]) -> None:
    ways = variations(CONFIGURED, StandIn(Clock()), Transcribe(), windows)
    assert [way.window_batch_size for way in ways if way.window_batch_size] == sizes


def test_int8_is_not_measured_beside_what_it_stands_for() -> None:
    assert other_compute_types(StandIn(Clock(), "int8_float32")) == ["float32"]
    assert other_compute_types(StandIn(Clock(), compute_types=["float32", "int8"])) == ["int8"]


def test_the_settings_can_be_read_as_they_are_printed() -> None:
    way = Way("15", 1, 16, "int8_float32")
    assert Way.of(Transcribe(**tomllib.loads(way.toml)["transcribe"])) == way


# The sample


def test_a_sample_is_drawn_from_the_head_always_the_same(workspace: Workspace) -> None:
    entries, _ = spoken(30)
    write_archive(workspace.archive, entries)
    samples = [draw_sample(workspace.archive, workspace.settings, 5, workspace.folder) for _ in range(2)]
    ordinals = [[clip.member.ordinal for clip in one.clips] for one in samples]
    assert ordinals[0] == ordinals[1] == sorted(ordinals[0])
    assert (len(ordinals[0]), samples[0].members_read) == (5, 20)
    assert 5 < max(ordinals[0]) < 20


def test_what_is_no_clip_is_replaced_by_one_that_is(workspace: Workspace) -> None:
    entries, said = spoken(4)
    write_archive(workspace.archive, [*(file_entry(f"{n}.mp3", b"no music") for n in range(12)), *entries])
    drawn = draw_sample(workspace.archive, workspace.settings, 4, workspace.folder)
    assert [clip.member.name for clip in drawn.clips] == list(said)


def test_the_readable_head_of_a_damaged_archive_is_a_sample(workspace: Workspace) -> None:
    entries, _ = spoken(8)
    whole = tar_bytes(entries)
    workspace.archive.write_bytes(whole[: len(whole) // 2])
    drawn = draw_sample(workspace.archive, workspace.settings, 40, workspace.folder)
    assert 2 <= len(drawn.clips) < 8
    assert "cut off" in (drawn.damage or "")


def test_an_archive_without_speech_is_an_error_in_words(workspace: Workspace) -> None:
    write_archive(workspace.archive, [file_entry("a.mp3", silent_clip())])
    with pytest.raises(ArchiveError, match="in which anybody speaks"):
        draw_sample(workspace.archive, workspace.settings, 5, workspace.folder)
    write_archive(workspace.archive, [file_entry("a.txt", b"text")])
    with pytest.raises(ArchiveError, match="no clip that can be used"):
        draw_sample(workspace.archive, workspace.settings, 5, workspace.folder)
    workspace.archive.write_bytes(b"")
    with pytest.raises(ArchiveDamagedError, match="is empty"):
        draw_sample(workspace.archive, workspace.settings, 5, workspace.folder)


# The command, with the bundled model


def test_one_loaded_model_hears_in_several_ways() -> None:
    settings = Transcribe(model="bundled", device="cpu")
    loaded = load_model(settings)
    assert (loaded.device, loaded.compute_type in loaded.compute_types) == ("cpu", True)
    engines = [loaded.engine(way.within(settings)) for way in (CONFIGURED, GREEDY, SHORT)]
    assert [(one.options.shortest_frames, one.options.beam_size) for one in engines] == [(200, 5), (200, 1), (1000, 5)]


def test_the_command_prints_a_table_and_settings_to_paste(workspace: Workspace) -> None:
    entries, said = spoken(12)
    path = write_archive(workspace.folder / "clips.tar.xz", [*entries, file_entry("README", b"text")])
    assert path.name.endswith(tuple(COMPRESSORS))
    before = workspace.write_configuration().read_bytes()
    result = workspace.audioctl(
        *("tune", path.name, "--clips", "6", "--minutes", "0.02"), environment={"COLUMNS": "80", "NO_COLOR": "1"}
    )
    assert result.returncode == ExitCode.DONE, result.stderr
    rows = [line for line in result.stdout.splitlines() if re.match(r"(full|auto) +\d", line)]
    assert any("reference" in row and "100%" in row for row in rows)
    assert any("configured" in row and "100%" in row for row in rows)
    assert max(map(len, rows)) <= 80
    assert "Heard: 6 clips" in result.stdout
    assert "members of clips.tar.xz; bundled on" in result.stdout
    snippet = re.search(r"The same words.*?\n(\[transcribe\]\n(?:\w+ = .*\n)+)", result.stdout, re.DOTALL)
    assert snippet is not None
    Transcribe(**tomllib.loads(snippet[1])["transcribe"])
    assert not any(text in result.stdout for text in said.values()), "transcripts may be private"
    assert "\x1b" not in result.stdout
    assert (workspace.folder / "audioctl.toml").read_bytes() == before
    assert not workspace.state.exists()
    assert workspace.scratch_content() == []


def test_json_has_all_that_was_measured(workspace: Workspace) -> None:
    workspace.write_clips(6)
    result = workspace.audioctl("tune", str(workspace.archive), "--clips", "4", "--minutes", "0", "--json")
    assert result.returncode == ExitCode.DONE, result.stderr
    values = json.loads(result.stdout)
    assert (values["schema"], values["model"], values["device"], values["ended_early"]) == (1, "bundled", "cpu", False)
    assert values["sample"]["clips"] == 4
    reference, configured = values["measured"]
    assert (reference["is_reference"], configured["is_configured"]) == (True, True)
    assert (reference["settings"]["window"], reference["settings"]["beam_size"]) == ("full", 5)
    assert (configured["agreement"], configured["clips_differing"], len(configured["seconds"])) == (1, 0, 1)
    assert configured["times_real_time"] > 0
    assert values["recommended"]["same_words"].keys() == configured["settings"].keys()
    assert values["left_out"]
    assert "differences" not in configured


def test_differences_are_shown_on_request(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    other = replace(measured(SHORT, 200, 0.9), differing={number: f"other words {number}" for number in range(2, 7)})
    told = replace(tuned(measured(CONFIGURED, 100), other), reference_texts=[SAID] * CLIPS)
    for differences in (False, True):
        _print(workspace.archive, workspace.settings, sample(), told, differences)
        printed = capsys.readouterr().out
        assert (
            "2.mp3\n    reference: one two three four five\n    here:      other words 2\n" in printed
        ) == differences
        assert ("other words 4" in printed) == differences
        assert "other words 5" not in printed  # three are enough


def test_ctrl_c_ends_it_with_what_was_measured(workspace: Workspace) -> None:
    workspace.write_clips(12)
    process = workspace.start("tune", str(workspace.archive), "--minutes", "10")
    wait_until(lambda: any("tune" in one.cmdline() for one in workspace.processes()), "the command to begin")
    lines = iter(process.stderr or ())
    next(line for line in lines if "hearing" in line)  # after ten seconds it says what it does
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == ExitCode.DRAINED, stderr
    assert "reference" in stdout
    assert "[transcribe]" in stdout
    workspace.wait_until_no_process_is_left()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("missing.tar",), ExitCode.FAILED, "missing.tar"),
        (("empty.tar",), ExitCode.LOOK, "is empty"),
        (("empty.tar", "--clips", "0"), ExitCode.USAGE, "--clips"),
        (("empty.tar", "--minutes", "-1"), ExitCode.USAGE, "--minutes"),
        (("empty.tar", "--profile", "hasty"), ExitCode.CONFIGURATION, "hasty"),
        (("empty.tar", "--model", "./nowhere"), ExitCode.CONFIGURATION, "nowhere"),
        ((), ExitCode.USAGE, "ARCHIVE"),
    ],
)
def test_mistakes_are_told_in_words(workspace: Workspace, arguments: tuple[str, ...], code: int, words: str) -> None:
    (workspace.folder / "empty.tar").touch()
    result = workspace.audioctl("tune", *arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_help_fits_in_80_columns(workspace: Workspace) -> None:
    result = workspace.audioctl("tune", "--help", environment={"COLUMNS": "80"})
    assert result.returncode == ExitCode.DONE
    assert max(map(len, result.stdout.splitlines())) <= 80
