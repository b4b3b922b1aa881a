"""The sample day of ``audioctl demo``: archives as they come in practice, and what is said in them."""

import subprocess
import sys
import tarfile
from pathlib import Path

from speech import silent_clip, spoken_clips

from audioctl.demo import Said, make_demo_day

DAY = "2025-01-25"
SLOTS = ["12_00", "12_10", "12_20"]


def read_archive(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        contents = {}
        for header in archive:
            file = archive.extractfile(header)
            assert file is not None
            contents[header.name] = file.read()
    return contents


def test_there_is_one_archive_for_each_slot(tmp_path: Path) -> None:
    make_demo_day(tmp_path / "day", DAY, SLOTS, clips_per_archive=4)
    names = sorted(path.name for path in (tmp_path / "day").iterdir())
    assert names == [f"0_{DAY}_{slot}.tar.xz" for slot in SLOTS]


def test_two_days_made_alike_are_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        make_demo_day(tmp_path / folder, DAY, SLOTS, clips_per_archive=4)
    for archive in (tmp_path / "first").iterdir():
        assert archive.read_bytes() == (tmp_path / "second" / archive.name).read_bytes()


def test_each_clip_is_in_its_archive_under_the_name_that_says_what_it_says(tmp_path: Path) -> None:
    said = make_demo_day(tmp_path, DAY, SLOTS, clips_per_archive=4)
    clips = {clip.content: clip for clip in spoken_clips()}
    for slot in SLOTS:
        archive = read_archive(tmp_path / f"0_{DAY}_{slot}.tar.xz")
        whole = {name: clips[content] for name, content in archive.items() if content in clips}
        assert len(whole) == 4
        for name, clip in whole.items():
            assert name.startswith("radio/")
            assert said[slot, name] == Said(clip.text, clip.language)


def test_no_clip_comes_twice_before_each_has_come_once(tmp_path: Path) -> None:
    count = len(spoken_clips())
    said = make_demo_day(tmp_path, DAY, SLOTS, clips_per_archive=count // 3)
    texts = [words.text for words in said.values() if words.text and not words.cut_off]
    assert len(set(texts)) == len(texts) == count


def test_the_last_archive_holds_one_of_each_mishap(tmp_path: Path) -> None:
    said = make_demo_day(tmp_path, DAY, SLOTS, clips_per_archive=4)
    archive = read_archive(tmp_path / f"0_{DAY}_{SLOTS[-1]}.tar.xz")
    silent, cut_off, not_music, readme = list(archive)[4:]

    assert archive[silent] == silent_clip()
    assert said[SLOTS[-1], silent] == Said("", None)

    (original,) = (clip for clip in spoken_clips() if clip.content.startswith(archive[cut_off]))
    assert 0.3 < len(archive[cut_off]) / len(original.content) < 0.9
    assert said[SLOTS[-1], cut_off] == Said(original.text, original.language, cut_off=True)

    assert not_music.endswith(".mp3")
    assert archive[not_music].isascii()
    assert readme == "README.txt"
    assert {name for slot, name in said if slot == SLOTS[-1]} == set(archive) - {not_music, readme}


def test_a_sample_day_is_made_without_any_audio_library() -> None:
    program = (
        "import sys, audioctl.demo; print(sorted({'numpy', 'av', 'soundfile', 'faster_whisper'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"
