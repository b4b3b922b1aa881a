"""``python -m tools.fuzz archive|names|journal --seconds N --seed S``: look for inputs that break a reader.

An input that does is written to a file, to be mended and kept in tests/fuzz. Exit code 1 says that there are some.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tools.fuzz.archive import ArchiveTarget
from tools.fuzz.fuzzer import Fuzzer, Target
from tools.fuzz.journal import JournalTarget
from tools.fuzz.names import NameTarget

_MOST_MEMORY_BYTES = 4 << 30
"""An input that needs more ends in a MemoryError, which is a fault."""

TARGETS: dict[str, Callable[[Path], Target]] = {
    "tar": ArchiveTarget,
    "names": lambda _: NameTarget(),
    "journal": JournalTarget,
}
"""Each by its name, made for a folder that it may write to."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description="Look for inputs that break a reader.")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=Path, default=Path(), help="folder to write faulty inputs to")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY_BYTES, _MOST_MEMORY_BYTES))
    end = time.monotonic() + arguments.seconds
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        fuzzer = Fuzzer(TARGETS[arguments.target](Path(folder)), arguments.seed)
        fuzzer.run_while(lambda: time.monotonic() < end)
    print(f"{fuzzer.inputs} inputs, {len(fuzzer.corpus)} of them reached something new, {len(fuzzer.steps)} steps")
    for kind, fault in fuzzer.faults.items():
        digest = hashlib.sha256(fault.content).hexdigest()[:12]
        path = arguments.faults / f"{arguments.target}-{digest}"
        path.write_bytes(fault.content)
        print(f"\n{kind}\n{path}, {len(fault.content)} bytes\n{fault.report}")
    return 1 if fuzzer.faults else 0


if __name__ == "__main__":
    sys.exit(main())
