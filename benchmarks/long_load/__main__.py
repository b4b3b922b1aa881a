"""A day of 144 archives and 100,000 clips under a fault every few seconds: ``python -m benchmarks.long_load``.

Everything is real (the command, its supervisor, its jobs and their processes, rsync over sshd, PostgreSQL, decoding,
encoding) but the recogniser: a stand-in that takes a fixed time for each second of audio, as a GPU would, and hears
the number that each clip says. Whenever no supervisor lives and something is left to do, ``audioctl resume`` is called;
jobs that outlived theirs share the GPUs (two) with those that come.

The day is worked on twice, in parts that take turns: with faults, and, as another day, without. Printed are the ratio
of their throughputs (which means something while the processors are not all busy: the recogniser has to be what bounds)
and whether memory, files, threads, scratch and journals are the same in the last third of the faulty parts as in the
first. Then one archive of its own is worked on by a single job, under those faults that a job is to live through, for
what grows within a job. In the end every row and file is compared with what was said. The exit code is 1 where
something was lost or doubled, or anything else is not as it must be.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.long_load.day import LoadedArchive, Passage, make_archives, work_through
from benchmarks.long_load.faults import IN_A_DAY, IN_A_JOB, Fault, Faults
from benchmarks.long_load.proof import Verdict, prove
from benchmarks.long_load.report import Load, Result, print_day, print_long, print_verdict
from benchmarks.long_load.sampling import Sampler, growth
from benchmarks.long_load.site import Site

CALM_DAY, FAULTY_DAY, LONG_DAY = "2025-01-24", "2025-01-25", "2025-01-26"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archives", type=int, default=144)
    parser.add_argument("--clips", type=int, default=100_000, help="of the day")
    parser.add_argument("--long-clips", type=int, default=10_000, help="of the archive that is worked on alone")
    parser.add_argument("--fault-every-seconds", type=float, default=5.0)
    parser.add_argument("--parts", type=int, default=4, help="of the day, each once without and once with faults")
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--cost", type=float, default=0.026, help="seconds of the recogniser for a second of audio")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    # Short, for it holds sockets.
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        verdict = run(Path(folder), Load(**vars(options)))
    sys.exit(bool(verdict.lost or verdict.doubled or verdict.troubles))


def run(folder: Path, load: Load) -> Verdict:
    with Site(folder, batch_size=load.batch_size, cost=load.cost) as site:
        calm = make_archives(site, CALM_DAY, load.archives, load.clips, first_number=0)
        faulty = make_archives(site, FAULTY_DAY, load.archives, load.clips, first_number=load.archives)
        long = make_archives(site, LONG_DAY, 1, load.long_clips, first_number=2 * load.archives)
        sampler, result = Sampler(site), Result()
        take_turns(site, load, calm, faulty, sampler, result)
        print_day(site, load, result, calm, faulty, growth(sampler.samples, third=0))
        of_long = Sampler(site)
        passage = work_under_faults(site, long, IN_A_JOB, load, of_long, result.long_faults, random.Random(load.seed))
        print_long(site, long[0], passage, result.long_faults, growth(of_long.samples, third=1))
        verdict = prove(site, [*calm, *faulty, *long])
    print_verdict(verdict, result)
    return verdict


def take_turns(
    site: Site,
    load: Load,
    calm: Sequence[LoadedArchive],
    faulty: Sequence[LoadedArchive],
    sampler: Sampler,
    result: Result,
) -> None:
    """The parts of both days; which of the two comes first changes, so that neither always has the quieter machine."""
    source = random.Random(load.seed)
    for part in range(load.parts):
        bounds = slice(part * load.archives // load.parts, (part + 1) * load.archives // load.parts)
        for is_calm in (True, False) if part % 2 == 0 else (False, True):
            if is_calm:
                result.calm.append(work_through(site, calm[bounds]))
            else:
                passage = work_under_faults(site, faulty[bounds], IN_A_DAY, load, sampler, result.faults, source)
                result.faulty.append(passage)
        done = result.calm[-1], result.faulty[-1]
        print(
            f"part {part + 1} of {load.parts}: {done[0].throughput:.1f} clips/s without faults, "
            f"{done[1].throughput:.1f} with, {done[1].commands} commands; processors busy "
            f"{done[0].processors_busy:.0%} and {done[1].processors_busy:.0%}",
            flush=True,
        )


def work_under_faults(
    site: Site,
    archives: Sequence[LoadedArchive],
    kinds: Mapping[str, Fault],
    load: Load,
    sampler: Sampler,
    faults: Faults,
    source: random.Random,
) -> Passage:
    with sampler.sampling(), faults.happening(site, kinds, load.fault_every_seconds, source):
        return work_through(site, archives)


if __name__ == "__main__":
    main()
