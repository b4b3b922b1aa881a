"""Makes tests/versions: ``python -m tools.version_fixtures [REVISION]``, before each release that changes a schema.

The code of REVISION (HEAD unless given) writes, nobody by hand:

- ``state/<newest ledger migration>/eventful``: journals with every kind of event, runs, and a ledger with a row in
  every state, as SQL.
- ``state/<newest ledger migration>/unfinished``: a day that ``submit-day`` ran, as it stands when the machine dies in
  its middle: one archive done, one broken off, one not begun.
- ``database/<step>.sql``: PostgreSQL after each migration of the group's own tables (``group``), and of an empty
  database, with rows.

What is there stays: a fixture is what a version wrote, and never changes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from archives import write_archive  # noqa: E402
from postgres import PostgresServer  # noqa: E402
from versions import DATABASE, DAY, PLACEHOLDER, STATE, UNFINISHED_SLOTS  # noqa: E402
from workspace import Workspace, spoken  # noqa: E402

from audioctl.node import node_name  # noqa: E402

WRITERS = Path(__file__).parent


def main(revision: str = "HEAD") -> None:
    with tempfile.TemporaryDirectory(prefix="audioctl-versions-") as name:
        folder = Path(name)
        code = check_out(revision, folder / "code")
        name = run(code, "import audioctl.ledger.migrations as m; print(m.MIGRATIONS[-1][0])").strip()
        if not (STATE / name).exists():
            made = folder / name
            write_eventful(code, made / "eventful")
            write_unfinished(code, folder / "day", made / "unfinished")
            shutil.copytree(made, STATE / name)
            print(f"made {STATE / name}")
        write_database(code)


def check_out(revision: str, code: Path) -> Path:
    code.mkdir()
    archive = subprocess.run(["git", "archive", revision], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "-x"], cwd=code, input=archive, check=True)
    return code


def run(code: Path, program: str, *arguments: str) -> str:
    """A Python program with the code (and the test helpers) of that version; what it prints."""
    return subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments],
        cwd=code, env=environment(code), check=True, stdout=subprocess.PIPE, text=True,
    ).stdout  # fmt: skip


def environment(code: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOCTL_")}
    return own | {"PYTHONPATH": f"{code}:{code / 'tests'}"}


def write_eventful(code: Path, target: Path) -> None:
    (target / "state").mkdir(parents=True)
    ledger = run(code, (WRITERS / "write_eventful.py").read_text(), str(target / "state"))
    (target / "state" / "ledger.db").unlink()
    (target / "ledger.sql").write_text(ledger)
    keep(target / "state")


def write_unfinished(code: Path, work: Path, target: Path) -> None:
    work.mkdir()
    workspace = Workspace(work)
    for slot in UNFINISHED_SLOTS:
        write_archive(work / f"0_{DAY}_{slot}.tar", spoken(9)[0])
    settings = f"""
[paths]
archives = "{work}"
state_dir = "{workspace.state}"
scratch = "{workspace.scratch}"
[extract]
stream_batch_size = 5
[convert]
num_workers = 1
[transcribe]
model = "bundled"
device = "cpu"
[upload]
destination = "{workspace.storage}"
"""
    (work / "audioctl.toml").write_text(settings)
    command = [sys.executable, "-P", "-m", "audioctl", "--config", "audioctl.toml", "submit-day", DAY, "--wait"]
    subprocess.run(command, cwd=work, env=environment(code), check=True)
    journals = workspace.state / "journals" / DAY
    _, broken_off, not_begun = (journals / f"{slot}.jsonl" for slot in UNFINISHED_SLOTS)
    lines = broken_off.read_text().splitlines(keepends=True)
    end = next(number for number, line in enumerate(lines) if '"batch_uploaded"' in line)
    broken_off.write_text("".join(lines[: end + 1]))
    not_begun.unlink()
    (run_folder,) = (workspace.state / "runs" / DAY).iterdir()
    ended = (run_folder / "jobs.jsonl").read_text().splitlines(keepends=True)
    (run_folder / "jobs.jsonl").write_text("".join(line for line in ended if '_0"' in line))
    shutil.rmtree(run_folder / "logs")
    keep(workspace.state)
    for path in workspace.state.rglob("*"):
        if path.is_file() and path.suffix != ".db":
            text = path.read_text().replace(f'"node":"{node_name()}"', '"node":"gpu1"')
            copy = target / "state" / path.relative_to(workspace.state)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(text.replace(str(work), PLACEHOLDER).replace(sys.executable, f"{PLACEHOLDER}/python"))


def keep(state: Path) -> None:
    """Leases name processes of this machine, which are gone by now."""
    for lease in state.rglob("*.lease"):
        lease.unlink()


def write_database(code: Path) -> None:
    DATABASE.mkdir(parents=True, exist_ok=True)
    server = PostgresServer()
    try:
        server.start()
        steps = run(code, (WRITERS / "write_database.py").read_text(), server.new_database(), "names").split()
        for origin in ("group", "empty"):
            for number in range(len(steps) + 1):
                name = f"{origin}_{steps[number - 1] if number else '0000'}"
                path = DATABASE / f"{name}.sql"
                if path.exists() or name == "empty_0000":
                    continue
                database = server.new_database()
                run(code, (WRITERS / "write_database.py").read_text(), database, origin, str(number))
                path.write_text(dump(database))
                print(f"made {path}")
    finally:
        server.remove()


def dump(database: str) -> str:
    """Without comments, owners and psql's own commands: statements that any client can send."""
    command = ["pg_dump", "--no-owner", "--no-comments", "--inserts", "--column-inserts", database]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [line for line in text.splitlines() if line and not line.startswith(("--", "\\"))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
