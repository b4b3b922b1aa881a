"""`audioctl tune`: the sample, and what it says. ``test_tuning`` has what it measures, ``test_ways`` what follows."""

from __future__ import annotations

import json
import re
import signal
import tomllib
from dataclasses import replace

import pytest
from archives import COMPRESSORS, file_entry, tar_bytes, write_archive
from measured_ways import CLIPS, CONFIGURED, GREEDY, SAID, SHORT, measured, sample, tuned
from speech import silent_clip
from workspace import Workspace, spoken, wait_until

from audioctl.cli.tune_output import print_tuned
from audioctl.engines.loading import load_model
from audioctl.errors import ArchiveDamagedError, ArchiveError
from audioctl.sampling import draw_sample
from audioctl.settings import Transcribe
from audioctl.states import ExitCode

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
        print_tuned(workspace.archive, workspace.settings, sample(), told, differences)
        printed = capsys.readouterr().out
        assert (
            "2.mp3\n    reference: one two three four five\n    here:      other words 2\n" in printed
        ) == differences
        assert ("other words 4" in printed) == differences
        assert "other words 5" not in printed  # three are enough


def test_ctrl_c_ends_it_with_what_was_measured(workspace: Workspace) -> None:
    workspace.write_clips(120)  # more than can be heard in all ways before it has said anything
    process = workspace.start("tune", str(workspace.archive), "--clips", "120", "--minutes", "10")
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
