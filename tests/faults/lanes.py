"""Lanes: processes that carry out trials side by side, each with its own servers."""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

from scenario import Scenario
from servers import Servers
from trial import Verdict, try_out


def verdicts(scenarios: Sequence[tuple[str, Scenario]], folder: Path, lanes: int) -> Iterator[tuple[str, Verdict]]:
    """Carry the named scenarios out in so many processes, each as its turn comes; what came of each, as it comes."""
    context = multiprocessing.get_context("spawn")
    waiting = iter(scenarios)
    pipes: list[Connection] = []
    processes = []
    for number in range(min(lanes, len(scenarios))):
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, folder / f"lane-{number}"))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    for pipe in pipes:
        pipe.send(next(waiting))
    while pipes:
        ready = wait(pipes)
        for pipe in [pipe for pipe in pipes if pipe in ready]:
            yield pipe.recv()
            if (following := next(waiting, None)) is not None:
                pipe.send(following)
            else:
                pipe.close()
                pipes.remove(pipe)
    for process in processes:
        process.join()


def _serve(pipe: Connection, folder: Path) -> None:
    with Servers(folder / "servers") as servers:
        for number in itertools.count():
            try:
                name, scenario = pipe.recv()
            except EOFError:
                break
            try:
                # Short, because paths at the destination have to fit into the database.
                verdict = try_out(scenario, folder / f"{number}-{name:.8}", servers)
            except Exception:
                verdict = Verdict(scenario, complaints=[f"the trial itself failed: {traceback.format_exc()}"])
            pipe.send((name, verdict))
    shutil.rmtree(folder / "servers")
