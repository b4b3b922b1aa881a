"""A small day under a fault a second, from the command to the last file: everything is there once, nothing is left.

``python -m benchmarks.long_load`` does the same with a large one, and measures it.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from benchmarks.long_load.day import make_archives, work_through
from benchmarks.long_load.faults import IN_A_DAY, Faults
from benchmarks.long_load.proof import prove
from benchmarks.long_load.site import Site

DAY = "2025-01-25"
ARCHIVES, CLIPS = 6, 240


@pytest.fixture
def site() -> Iterator[Site]:
    # Not pytest's own folder: the path of a socket must be short.
    with (
        tempfile.TemporaryDirectory(prefix="load-") as folder,
        Site(Path(folder), batch_size=10, cost=0.1) as running,
    ):
        yield running


def test_a_day_under_a_fault_a_second_has_every_clip_once(site: Site) -> None:
    archives = make_archives(site, DAY, ARCHIVES, CLIPS, first_number=0)
    faults = Faults()

    with faults.happening(site, IN_A_DAY, 1.0, random.Random(1)):
        work_through(site, archives)

    assert faults.struck.total() > ARCHIVES
    verdict = prove(site, archives)
    assert (verdict.troubles, verdict.lost, verdict.doubled) == ([], 0, 0)
    assert verdict.heard_files == verdict.clips == CLIPS


def test_the_proof_finds_what_is_lost_wrong_swapped_or_left(site: Site) -> None:
    archives = make_archives(site, DAY, 1, 20, first_number=0)
    work_through(site, archives)
    folder = site.stored(DAY, archives[0].slot) / "radio"
    first, second = folder / "00000.opus", folder / "00001.opus"
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    (folder / ".00002.opus.Xy12Z9").write_bytes(content)
    (folder / "copy.opus").write_bytes(content)
    (site.scratch / "left").mkdir()
    with psycopg.connect(site.database) as connection:
        connection.execute("delete from audio_files where member = 'radio/00003.mp3'")
        connection.execute("update transcripts set transcript_text = '1' where transcript_text = '00000004'")

    verdict = prove(site, archives)

    troubles = "\n".join(verdict.troubles)
    assert (verdict.lost, verdict.doubled) == (1, 0)
    assert "'radio/00000.mp3') says '00000001', not '00000000'" in troubles
    assert "radio/00004.mp3 says '1', not '00000004'" in troubles
    assert "21 files are stored, not 20" in troubles
    assert "scratch is not empty: 1 entries, the first is left" in troubles
    assert "'problem': 'row missing'" in troubles
    assert verdict.cut_uploads == 1
