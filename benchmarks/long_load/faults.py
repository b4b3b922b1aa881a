"""What goes wrong in a day, one thing after the other, chosen by a seed: processes killed and stopped, servers away."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice

import psutil
import psycopg

from benchmarks.long_load.site import Site, command_line, jobs, supervisors

_LONGEST_HUNT_SECONDS = 2.0
"""For a process that lives for hundredths of a second only."""

Fault = Callable[[Site, random.Random], bool]
"""Makes something go wrong, and puts right what nobody else would; whether there was anything to strike."""


def kill_job(site: Site, source: random.Random) -> bool:
    return _strike(source, jobs(site.processes()), signal.SIGKILL)


def end_job(site: Site, source: random.Random) -> bool:
    return _strike(source, jobs(site.processes()), signal.SIGTERM)


def suspend_job(site: Site, source: random.Random) -> bool:
    victims = jobs(site.processes())
    if not victims:
        return False
    victim = source.choice(victims)
    with suppress(psutil.NoSuchProcess):
        victim.suspend()
        time.sleep(source.uniform(1, 2))
        victim.resume()
    return True


def kill_converter(site: Site, source: random.Random) -> bool:
    return _strike(source, [process for process in site.processes() if _is_converter(process)], signal.SIGKILL)


def kill_rsync(site: Site, source: random.Random) -> bool:
    def rsyncs() -> list[psutil.Process]:
        return [process for process in site.processes() if command_line(process)[:1] == ["rsync"]]

    deadline = time.monotonic() + _LONGEST_HUNT_SECONDS
    while not (found := rsyncs()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return _strike(source, found, signal.SIGKILL)


def kill_supervisor(site: Site, source: random.Random) -> bool:
    return _strike(source, supervisors(site.processes()), signal.SIGKILL)


def stop_sshd(site: Site, source: random.Random) -> bool:
    site.sshd.stop()
    time.sleep(source.uniform(1, 3))
    site.sshd.start()
    return True


def reset_connections(site: Site, source: random.Random) -> bool:  # noqa: ARG001
    return site.sshd.reset_connections() > 0


def terminate_backend(site: Site, source: random.Random) -> bool:  # noqa: ARG001
    with psycopg.connect(site.database) as connection:
        ended = connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'audioctl/%'"
        )
        return ended.rowcount > 0


def restart_postgres(site: Site, source: random.Random) -> bool:  # noqa: ARG001
    site.postgres.kill()
    site.postgres.start()
    return True


IN_A_JOB: Mapping[str, Fault] = {
    "a converter killed": kill_converter,
    "an rsync killed": kill_rsync,
    "sshd away for 1-3 s": stop_sshd,
    "ssh connections reset": reset_connections,
    "PostgreSQL sessions ended": terminate_backend,
    "PostgreSQL restarted": restart_postgres,
    "a job stopped for 1-2 s": suspend_job,
}
"""What a job is to live through."""

IN_A_DAY: Mapping[str, Fault] = {
    **IN_A_JOB,
    "a job killed": kill_job,
    "a job told to end": end_job,
    "the supervisor killed": kill_supervisor,
}


@dataclass
class Faults:
    """``struck`` counts them by name, ``missed`` those that found nothing to strike."""

    struck: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)

    def _strike_one(self, site: Site, kinds: Mapping[str, Fault], names: Iterator[str], source: random.Random) -> None:
        for name in islice(names, len(kinds)):
            if kinds[name](site, source):
                self.struck[name] += 1
                return
            self.missed[name] += 1

    @contextmanager
    def happening(
        self, site: Site, kinds: Mapping[str, Fault], every_seconds: float, source: random.Random
    ) -> Iterator[None]:
        """One of ``kinds`` every so many seconds, each as often as the others, in an order that ``source`` shuffles."""
        over = threading.Event()
        errors: list[BaseException] = []

        def go_wrong() -> None:
            try:
                names = _in_turns(list(kinds), source)
                while not over.wait(every_seconds - time.monotonic() % every_seconds):
                    self._strike_one(site, kinds, names, source)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=go_wrong, name="faults")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if errors:
            raise errors[0]


def _in_turns(names: Sequence[str], source: random.Random) -> Iterator[str]:
    while True:
        yield from source.sample(names, len(names))


def _strike(source: random.Random, processes: Sequence[psutil.Process], number: signal.Signals) -> bool:
    if not processes:
        return False
    try:
        os.kill(source.choice(processes).pid, number)
    except ProcessLookupError:
        return False
    return True


def _is_converter(process: psutil.Process) -> bool:
    """A child of the server that a job forks its workers from."""
    try:
        return _is_fork_server(process.parent())
    except psutil.Error:
        return False


def _is_fork_server(process: psutil.Process | None) -> bool:
    return process is not None and any("multiprocessing.forkserver" in part for part in command_line(process))
