"""The convert stage: what becomes of each member of a batch, and what a bad one costs."""

import ctypes
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from sounds import encoded, id3v2, silence, speech, video

from audioctl.audio.opus import OpusWriter
from audioctl.clips import SAMPLE_RATE, ConvertedClip, Member, MemberBatch
from audioctl.errors import Drained, ScratchError
from audioctl.pipeline.clip_tasks import ClipTask, convert_clip
from audioctl.pipeline.convert import Converter
from audioctl.states import ClipState, Reason


@cache
def mp3() -> bytes:
    return encoded(np.concatenate([silence(1), speech(), silence(1)]), "mp3")


def member(ordinal: int, name: str, content: bytes | Path) -> Member:
    data = content.read_bytes() if isinstance(content, Path) else content
    return Member(ordinal, name, f"audio/{name}.opus", len(data), hashlib.sha256(data).hexdigest(), content=content)


def batch_of(*members: Member, index: int = 0) -> MemberBatch:
    return MemberBatch(index, list(members), digest="")


def misbehave(task: ClipTask) -> ConvertedClip:
    """A decoder that dies or hangs, with half a file written, for clips that are named after how."""
    deeds: dict[str, Callable[[], object]] = {
        "abort": os.abort,
        "null": lambda: ctypes.string_at(0),
        "exit": lambda: os._exit(3),
        "hang": lambda: time.sleep(1000),
    }
    deed = deeds.get(task.member.name)
    if deed is not None:
        with OpusWriter(task.opus_path) as writer:
            writer.write(speech())
            deed()
    return convert_clip(task)


def die_the_first_time(task: ClipTask) -> ConvertedClip:
    marker = task.opus_path.with_suffix(".tried")
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    marker.unlink()
    return convert_clip(task)


def fall_asleep(task: ClipTask) -> ConvertedClip:
    task.opus_path.with_suffix(f".{os.getpid()}").touch()
    time.sleep(1000)
    return convert_clip(task)


def its_turn(scratch: Path, name: str) -> Path:
    return scratch / f"{name}.may_begin"


def wait_for_its_turn(task: ClipTask) -> ConvertedClip:
    wait_until(its_turn(task.opus_path.parent, task.member.name).exists)
    return convert_clip(task)


def workers() -> list[psutil.Process]:
    """The children of the fork server, which is a child of this process."""
    return [
        worker
        for server in psutil.Process().children()
        if any("forkserver" in argument for argument in server.cmdline())
        for worker in server.children()
    ]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited for a minute"
        time.sleep(0.02)


def test_a_batch_gives_windows_and_opus_copies_in_order(tmp_path: Path) -> None:
    members = [member(5 + place, f"{place}.mp3", mp3()) for place in range(6)]
    with Converter(2, tmp_path) as converter:
        converted = converter.convert(batch_of(*members, index=3))
    assert converted.index == 3
    assert converted.set_aside == []
    assert [clip.member.ordinal for clip in converted.clips] == [5, 6, 7, 8, 9, 10]
    for clip in converted.clips:
        assert clip.member.content is None
        assert clip.duration_seconds == pytest.approx(2 + len(speech()) / SAMPLE_RATE, abs=0.1)
        assert not clip.truncated
        assert [window.clip for window in clip.windows] == [clip.member.ordinal]
        assert clip.opus.local_path == tmp_path / f"{clip.member.ordinal:06d}.opus"
        assert clip.opus.storage_path == clip.member.storage_path
        content = clip.opus.local_path.read_bytes()
        assert clip.opus.size_bytes == len(content)
        assert clip.opus.sha256 == hashlib.sha256(content).hexdigest()


def test_every_bad_member_costs_only_itself(tmp_path: Path) -> None:
    truncated = mp3()[: len(mp3()) * 2 // 3]
    expected: list[tuple[str, bytes, ClipState, Reason | None]] = [
        ("empty.mp3", b"", ClipState.REJECTED, Reason.EMPTY),
        ("tags.mp3", id3v2(b"Title"), ClipState.REJECTED, Reason.EMPTY),
        ("text.mp3", b"This is no sound.\n" * 50, ClipState.REJECTED, Reason.UNDECODABLE),
        ("picture.mp3", video(None), ClipState.REJECTED, Reason.UNDECODABLE),
        ("README.txt", b"Read me.\n", ClipState.SKIPPED, Reason.NOT_AUDIO),
        ("cut.mp3", truncated, ClipState.STORED, None),
        ("film.mp3", video(speech()), ClipState.STORED, None),
        ("UPPER.MP3", mp3(), ClipState.STORED, None),
        ("sample.wav", encoded(speech()[:1], "wav"), ClipState.STORED, None),
        ("good.flac", encoded(speech(), "flac"), ClipState.STORED, None),
    ]
    members = [member(place, name, content) for place, (name, content, _, _) in enumerate(expected)]
    with Converter(2, tmp_path) as converter:
        converted = converter.convert(batch_of(*members))
    outcomes = {clip.member.name: (ClipState.STORED, None) for clip in converted.clips} | {
        aside.member.name: (aside.state, aside.reason) for aside in converted.set_aside
    }
    assert outcomes == {name: (state, reason) for name, _, state, reason in expected}
    assert [clip.member.name for clip in converted.clips if clip.truncated] == ["cut.mp3"]
    assert all(aside.member.content is None for aside in converted.set_aside)
    assert len(list(tmp_path.iterdir())) == len(converted.clips)


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (Reason.EMPTY, ClipState.REJECTED),
        (Reason.TOO_LARGE, ClipState.REJECTED),
        (Reason.UNSAFE_NAME, ClipState.REJECTED),
        (Reason.NOT_A_FILE, ClipState.SKIPPED),
    ],
)
def test_a_member_with_a_reason_is_set_aside_untried(reason: Reason, state: ClipState, tmp_path: Path) -> None:
    known = Member(0, "a.mp3", "audio/a.opus", 9, "", content=None, reason=reason, detail="why")
    with Converter(1, tmp_path) as converter:
        converted = converter.convert(batch_of(known))
    (aside,) = converted.set_aside
    assert (aside.member, aside.state, aside.reason, aside.detail) == (known, state, reason, "why")


def test_silence_is_stored_without_windows(tmp_path: Path) -> None:
    with Converter(1, tmp_path) as converter:
        (clip,) = converter.convert(batch_of(member(0, "a.wav", encoded(silence(5), "wav")))).clips
    assert clip.windows == []
    assert clip.duration_seconds == 5
    with av.open(str(clip.opus.local_path)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples == 5 * 48_000


def test_without_voice_detection_silence_is_a_window(tmp_path: Path) -> None:
    with Converter(1, tmp_path, vad=False) as converter:
        (clip,) = converter.convert(batch_of(member(0, "a.wav", encoded(silence(5), "wav")))).clips
    assert [window.duration_seconds for window in clip.windows] == [5]


def test_a_spooled_member_is_deleted_after_use(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(mp3())
    bad.write_bytes(b"This is no sound.")
    with Converter(1, tmp_path) as converter:
        converted = converter.convert(batch_of(member(0, "a.mp3", good), member(1, "b.mp3", bad)))
    assert (len(converted.clips), len(converted.set_aside)) == (1, 1)
    assert list(tmp_path.iterdir()) == [tmp_path / "000000.opus"]


def test_the_next_batch_is_converted_while_the_last_is_collected(tmp_path: Path) -> None:
    with Converter(2, tmp_path) as converter:
        first = converter.start(batch_of(member(0, "a.mp3", mp3()), index=0))
        second = converter.start(batch_of(member(1, "b.mp3", mp3()), index=1))
        assert [clip.member.name for clip in second.whole().clips] == ["b.mp3"]
        assert [clip.member.name for clip in first.whole().clips] == ["a.mp3"]


def test_a_copy_made_again_is_the_same_file(tmp_path: Path) -> None:
    batch = batch_of(member(0, "a.mp3", mp3()), member(1, "b.mp3", b"This is no sound."))
    with Converter(2, tmp_path) as converter:
        converted = converter.convert(batch)
        converted.clips[0].opus.local_path.unlink()
        copied = converter.start_copies(batch).whole()
    assert copied.copies == [converted.clips[0].opus]
    assert copied.set_aside == converted.set_aside
    assert copied.copies[0].local_path.exists()


def test_a_decoder_that_dies_costs_its_clip_only(tmp_path: Path) -> None:
    names = ["a.mp3", "abort", "b.mp3", "null", "exit", "c.mp3"]
    batch = batch_of(*(member(place, name, mp3()) for place, name in enumerate(names)))
    with Converter(2, tmp_path, work=misbehave) as converter:
        converted = converter.convert(batch)
        later = converter.convert(batch_of(member(9, "d.mp3", mp3())))
    assert [clip.member.name for clip in converted.clips] == ["a.mp3", "b.mp3", "c.mp3"]
    assert [(aside.reason, aside.detail) for aside in converted.set_aside] == [
        (Reason.CRASHED_DECODER, "the decoder died: SIGABRT"),
        (Reason.CRASHED_DECODER, "the decoder died: SIGSEGV"),
        (Reason.CRASHED_DECODER, "the decoder died: exit code 3"),
    ]
    assert [clip.member.name for clip in later.clips] == ["d.mp3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "000000.opus",
        "000002.opus",
        "000005.opus",
        "000009.opus",
    ]


def test_a_decoder_that_hangs_costs_its_clip_only(tmp_path: Path) -> None:
    batch = batch_of(member(0, "hang", mp3()), member(1, "a.mp3", mp3()))
    with Converter(1, tmp_path, clip_timeout_seconds=2, work=misbehave) as converter:
        converted = converter.convert(batch)
    (aside,) = converted.set_aside
    assert (aside.reason, aside.detail) == (Reason.CRASHED_DECODER, "not decoded after 2 s")
    assert [clip.member.name for clip in converted.clips] == ["a.mp3"]
    assert list(tmp_path.iterdir()) == [tmp_path / "000001.opus"]


def test_a_worker_that_is_killed_from_outside_does_not_cost_its_clip(tmp_path: Path) -> None:
    batch = batch_of(member(0, "a.mp3", mp3()), member(1, "b.mp3", mp3()))
    with Converter(2, tmp_path, work=die_the_first_time) as converter:
        converted = converter.convert(batch)
    assert [clip.member.name for clip in converted.clips] == ["a.mp3", "b.mp3"]


def test_idle_workers_that_are_killed_are_replaced(tmp_path: Path) -> None:
    with Converter(2, tmp_path) as converter:
        converter.convert(batch_of(member(0, "a.mp3", mp3())))
        idle = workers()
        assert idle
        for worker in idle:
            worker.kill()
        converted = converter.convert(batch_of(*(member(n, f"{n}.mp3", mp3()) for n in range(1, 9))))
    assert len(converted.clips) == 8


def test_ctrl_c_is_the_parents_business(tmp_path: Path) -> None:
    with Converter(2, tmp_path) as converter:
        converter.convert(batch_of(member(0, "a.mp3", mp3())))
        before = workers()
        for worker in before:
            worker.send_signal(signal.SIGINT)
        converted = converter.convert(batch_of(member(1, "b.mp3", mp3()), member(2, "c.mp3", mp3())))
        assert set(before) <= set(workers())
    assert len(converted.clips) == 2


def test_a_part_of_a_batch_is_there_before_the_rest_of_it(tmp_path: Path) -> None:
    members = [member(n, f"{n}.mp3", mp3()) for n in range(3)]
    members[1] = member(1, "1.txt", b"no audio")
    with Converter(1, tmp_path, work=wait_for_its_turn) as converter:
        parts = converter.start(batch_of(*members, index=3)).parts(2)
        for name in ("0.mp3", "1.txt"):
            its_turn(tmp_path, name).touch()
        first = next(parts)
        its_turn(tmp_path, "2.mp3").touch()
        (last,) = parts
    assert [clip.member.name for clip in first.clips] == ["0.mp3"]
    assert [one.member.name for one in first.set_aside] == ["1.txt"]
    assert [clip.member.name for clip in last.clips] == ["2.mp3"]
    assert (first.index, last.index, last.set_aside) == (3, 3, [])


def test_a_converter_that_is_killed_ends_at_once(tmp_path: Path) -> None:
    converter = Converter(2, tmp_path, work=fall_asleep)
    pending = converter.start(batch_of(*(member(n, f"{n}.mp3", mp3()) for n in range(4))))
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    running = workers()
    converter.kill()
    with pytest.raises(Drained):
        pending.whole()
    with pytest.raises(Drained):
        converter.start(batch_of(member(9, "z.mp3", mp3())))
    assert not any(worker.is_running() for worker in running)


def test_workers_do_not_outlive_a_killed_job(tmp_path: Path) -> None:
    program = f"""
        from pathlib import Path
        from audioctl.pipeline.convert import Converter
        from test_convert import batch_of, fall_asleep, member, mp3

        if __name__ == "__main__":
            converter = Converter(2, Path({str(tmp_path)!r}), work=fall_asleep)
            converter.start(batch_of(*(member(n, "a.mp3", mp3()) for n in range(4)))).whole()
    """
    script = tmp_path / "job.py"
    script.write_text(textwrap.dedent(program))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    job = subprocess.Popen([sys.executable, script], env=environment)
    try:
        wait_until(lambda: len(list(tmp_path.glob("000*"))) == 2)
        descendants = psutil.Process(job.pid).children(recursive=True)
        assert {int(path.suffix[1:]) for path in tmp_path.glob("000*")} <= {one.pid for one in descendants}
    finally:
        job.kill()
        job.wait()
    wait_until(lambda: not any(one.is_running() for one in descendants))


def test_a_full_scratch_is_no_fault_of_the_clip(tmp_path: Path) -> None:
    (tmp_path / "000001.opus.part").symlink_to("/dev/full")
    batch = batch_of(*(member(n, f"{n}.mp3", mp3()) for n in range(3)))
    with Converter(1, tmp_path) as converter, pytest.raises(ScratchError, match="No space left") as caught:
        converter.convert(batch)
    assert caught.value.hint is not None


def test_a_spooled_member_that_cannot_be_read_is_no_fault_of_the_clip(tmp_path: Path) -> None:
    gone = Member(0, "a.mp3", "audio/a.opus", 9, "", content=tmp_path / "gone")
    with Converter(1, tmp_path) as converter, pytest.raises(ScratchError, match="gone could not be read"):
        converter.convert(batch_of(gone))


def test_decoders_do_not_litter_the_log(tmp_path: Path) -> None:
    """libmpg123 complains on file 2 about an MP3 whose header promises more than there is."""
    program = f"""
        from pathlib import Path
        from audioctl.pipeline.convert import Converter
        from test_convert import batch_of, member, mp3

        if __name__ == "__main__":
            with Converter(1, Path({str(tmp_path)!r})) as converter:
                half = mp3()[:len(mp3()) // 2]
                print(converter.convert(batch_of(member(0, "a.mp3", half))).clips[0].truncated)
    """
    script = tmp_path / "job.py"
    script.write_text(textwrap.dedent(program))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    result = subprocess.run([sys.executable, script], env=environment, check=True, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("True\n", "")
