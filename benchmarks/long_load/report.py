"""What a long load is made of, what was measured, and the tables that tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.long_load.clips import CLIP_SECONDS
from benchmarks.long_load.day import (
    LoadedArchive,
    Passage,
    batch_seconds,
    journal_content,
    state_bytes_beside_journals,
)
from benchmarks.long_load.faults import Faults
from benchmarks.long_load.proof import Verdict
from benchmarks.long_load.sampling import Growth
from benchmarks.long_load.site import MAX_CONCURRENT, Site

LEAST_RATIO = 0.8
"""Of the throughput with faults to the one without."""


@dataclass(frozen=True, slots=True)
class Load:
    archives: int
    clips: int
    long_clips: int
    fault_every_seconds: float
    parts: int
    batch_size: int
    cost: float
    seed: int


@dataclass(slots=True)
class Result:
    calm: list[Passage] = field(default_factory=list)
    faulty: list[Passage] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    long_faults: Faults = field(default_factory=Faults)

    @property
    def ratio(self) -> float:
        """Of all parts together: both days have as many clips."""
        return sum(passage.seconds for passage in self.calm) / sum(passage.seconds for passage in self.faulty)

    @property
    def ratios(self) -> list[float]:
        """Of each part."""
        return [faulty.throughput / calm.throughput for calm, faulty in zip(self.calm, self.faulty, strict=True)]


def print_day(
    site: Site,
    load: Load,
    result: Result,
    calm: Sequence[LoadedArchive],
    faulty: Sequence[LoadedArchive],
    grown: Sequence[Growth],
) -> None:
    print(
        f"\n{load.archives} archives, {load.clips:,} clips of {CLIP_SECONDS:.2f} s; {MAX_CONCURRENT} jobs at a time; "
        f"the recogniser takes {load.cost * CLIP_SECONDS * 1000:.0f} ms a clip,\n"
        f"{batch_seconds(load.batch_size, load.cost):.1f} s a batch of {load.batch_size}: at most "
        f"{MAX_CONCURRENT / (load.cost * CLIP_SECONDS):.0f} clips/s"
    )
    print(f"{'':<16}{'clips/s':>9}{'seconds':>9}{'commands':>10}{'attempts':>10}{'batches again':>15}{'journal':>15}")
    for name, passages, archives in (("without faults", result.calm, calm), ("with faults", result.faulty, faulty)):
        seconds = sum(passage.seconds for passage in passages)
        journals = [journal_content(site, archive) for archive in archives]
        size = sum(journal.size_bytes for journal in journals) / load.clips
        print(
            f"{name:<16}{load.clips / seconds:>9.1f}{seconds:>9.0f}{sum(passage.commands for passage in passages):>10}"
            f"{sum(journal.attempts for journal in journals):>10}"
            f"{sum(journal.recognised_again for journal in journals):>15}{size:>9.0f} B/clip"
        )
    print(
        f"throughput with faults ÷ without: {result.ratio:.2f} (wanted: {LEAST_RATIO} or more); of the parts "
        f"{', '.join(f'{ratio:.2f}' for ratio in result.ratios)}"
    )
    print_faults(result.faults)
    lost_seconds = sum(passage.seconds for passage in result.faulty) - sum(passage.seconds for passage in result.calm)
    print(f"a fault cost {lost_seconds / max(1, result.faults.struck.total()):.2f} s of the day")
    third = max(1, len(faulty) // 3)
    before, after = (bytes_of_clip(site, part) for part in (faulty[:third], faulty[-third:]))
    print(f"journals, bytes a clip: first third {before:.0f}, last third {after:.0f}, ratio {after / before:.2f}")
    print(f"runs, logs and ledger: {state_bytes_beside_journals(site) / 1e6:.1f} MB")
    print_growth("first third", grown)


def bytes_of_clip(site: Site, archives: Sequence[LoadedArchive]) -> float:
    size = sum(journal_content(site, archive).size_bytes for archive in archives)
    return size / sum(archive.clips for archive in archives)


def print_long(site: Site, archive: LoadedArchive, passage: Passage, faults: Faults, grown: Sequence[Growth]) -> None:
    content = journal_content(site, archive)
    print(
        f"\nOne archive of {archive.clips:,} clips: {passage.seconds:.0f} s, {passage.throughput:.1f} clips/s, "
        f"{content.attempts} attempts, {content.size_bytes / archive.clips:.0f} B of journal a clip"
    )
    print_faults(faults)
    print_growth("second third", grown)


def print_faults(faults: Faults) -> None:
    kinds = ", ".join(f"{count} × {name}" for name, count in sorted(faults.struck.items()))
    print(f"faults: {faults.struck.total()} ({kinds})")


def print_growth(first: str, grown: Sequence[Growth]) -> None:
    print(f"{'medians (largest)':<32}{first:>20}{'last third':>20}{'ratio':>8}")
    for one in grown:
        before, after = (
            f"{median:,.1f} ({largest:,.1f}) {one.unit:<2}"
            for median, largest in zip(one.medians, one.largest, strict=True)
        )
        print(f"{one.name:<32}{before:>20}{after:>20}{one.ratio:>8.2f}")


def print_verdict(verdict: Verdict, result: Result) -> None:
    faults = result.faults.struck + result.long_faults.struck
    print(f"\n{faults.total()} faults; {verdict.summary}; {verdict.heard_files:,} files listened to")
    for trouble in verdict.troubles[:20]:
        print(f"  {trouble}")
