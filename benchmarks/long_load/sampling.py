"""What a day holds while it is worked on, each second: memory, open files, threads, processes, what lies on disks."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.long_load.site import Site, jobs

SAMPLE_SECONDS = 1.0
_THIRDS = 3


@dataclass(frozen=True, slots=True)
class JobSample:
    """Of one job. ``rss`` is its own process's; ``tree_pss`` is that of its workers and rsyncs as well, where memory
    that several processes share is divided among them."""

    rss: int
    tree_pss: int
    open_files: int
    threads: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Sizes in bytes. ``processes`` are all that the day's commands have started and that live."""

    jobs: list[JobSample]
    processes: int
    scratch_bytes: int
    scratch_folders: int
    temporary_entries: int


class Sampler:
    def __init__(self, site: Site) -> None:
        self._site = site
        self.samples: list[Sample] = []

    @contextmanager
    def sampling(self) -> Iterator[None]:
        over = threading.Event()

        def sample() -> None:
            while not over.wait(SAMPLE_SECONDS):
                self.samples.append(self._sample())

        thread = threading.Thread(target=sample, name="sampler")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _sample(self) -> Sample:
        processes = self._site.processes()
        of_jobs = []
        for job in jobs(processes):
            with suppress(psutil.Error):
                of_jobs.append(_job_sample(job))
        sizes = [_size(path) for path in self._site.scratch.rglob("*")]
        return Sample(
            jobs=of_jobs,
            processes=len(processes),
            scratch_bytes=sum(sizes),
            scratch_folders=_count(self._site.scratch),
            temporary_entries=_count(self._site.temporary),
        )


def _job_sample(job: psutil.Process) -> JobSample:
    pss = job.memory_full_info().pss
    for process in job.children(recursive=True):
        with suppress(psutil.Error):
            pss += process.memory_full_info().pss
    with job.oneshot():
        return JobSample(job.memory_info().rss, pss, job.num_fds(), job.num_threads())


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


@dataclass(frozen=True, slots=True)
class Growth:
    """A quantity in one third of a run and in its last third: medians and largest values."""

    name: str
    unit: str
    medians: tuple[float, float]
    largest: tuple[float, float]

    @property
    def ratio(self) -> float:
        before, after = self.medians
        return after / before if before else float(after > 0) + 1


Quantity = Callable[[Sample], Sequence[float]]

_QUANTITIES: dict[tuple[str, str], Quantity] = {
    ("a job's own process, RSS", "MB"): lambda sample: [job.rss / 1e6 for job in sample.jobs],
    ("a job and its workers, PSS", "MB"): lambda sample: [job.tree_pss / 1e6 for job in sample.jobs],
    ("open files of a job", ""): lambda sample: [job.open_files for job in sample.jobs],
    ("threads of a job", ""): lambda sample: [job.threads for job in sample.jobs],
    ("processes in all", ""): lambda sample: [sample.processes],
    ("scratch", "MB"): lambda sample: [sample.scratch_bytes / 1e6],
    ("folders on scratch", ""): lambda sample: [sample.scratch_folders],
    ("entries in TMPDIR", ""): lambda sample: [sample.temporary_entries],
}


def growth(samples: Sequence[Sample], *, third: int) -> list[Growth]:
    """Each quantity in that third of ``samples`` (0 is the first) and in the last one."""
    length = len(samples) // _THIRDS
    thirds = samples[third * length : (third + 1) * length], samples[-length:]
    found = []
    for (name, unit), quantity in _QUANTITIES.items():
        values = [[value for sample in part for value in quantity(sample)] or [0.0] for part in thirds]
        before, after = values
        medians = statistics.median(before), statistics.median(after)
        found.append(Growth(name, unit, medians, (max(before), max(after))))
    return found
