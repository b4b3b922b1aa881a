"""A batch reaches the recogniser in parts, each as soon as it is converted, and the journal as a whole."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from archives import file_entry, write_archive
from workspace import CountingEngine, Workspace, spoken

from audioctl.clips import ConvertedClip, Window, WindowTranscript
from audioctl.pipeline import run
from audioctl.pipeline.clip_tasks import ClipTask, convert_clip
from audioctl.pipeline.convert import Converter


class Recogniser(CountingEngine):
    """The bundled one; it leaves the file ``has_heard`` and remembers the clips of each call."""

    def __init__(self, has_heard: Path) -> None:
        super().__init__()
        self._has_heard = has_heard
        self.calls: list[list[int]] = []

    def transcribe(self, windows: Sequence[Window]) -> list[WindowTranscript]:
        self.calls.append(list(dict.fromkeys(window.clip for window in windows)))
        heard = super().transcribe(windows)
        self._has_heard.touch()
        return heard


@pytest.fixture
def recogniser(workspace: Workspace) -> Recogniser:
    workspace.configure("transcribe", process_batch_size=2)
    return Recogniser(workspace.folder / "has heard")


def convert_the_last_after(has_heard: Path, task: ClipTask) -> ConvertedClip:
    deadline = time.monotonic() + 60
    while task.member.ordinal == 4 and not has_heard.exists():
        assert time.monotonic() < deadline, "nothing was heard for a minute"
        time.sleep(0.02)
    return convert_clip(task)


def test_the_first_clips_are_heard_while_the_last_are_converted(
    workspace: Workspace, recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = partial(convert_the_last_after, workspace.folder / "has heard")
    monkeypatch.setattr(run, "Converter", partial(Converter, work=work))
    workspace.write_clips(5)
    workspace.process(engine=recogniser)
    assert recogniser.calls == [[0, 1], [2, 3], [4]]
    workspace.assert_all_was_heard()
    assert workspace.event_names().count("recognition_begun") == 1
    assert [event["stored"] for event in workspace.events() if event["event"] == "batch_transcribed"] == [5]


def test_what_is_no_clip_counts_as_a_member_of_its_part(workspace: Workspace, recogniser: Recogniser) -> None:
    entries, workspace.said = spoken(3)
    write_archive(workspace.archive, [file_entry("notes.txt", b"a text"), *entries])
    workspace.process(engine=recogniser)
    assert recogniser.calls == [[1], [2, 3]]
    workspace.assert_all_was_heard()
