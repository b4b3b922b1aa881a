"""What the documentation says is there is there, and what is there is said."""

import re
from pathlib import Path

import pytest
import typer

from audioctl.cli import build_app
from audioctl.executors import slurm_words
from audioctl.jobs import JobPhase
from audioctl.states import ArchiveState, Flag, Reason

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("audioctl/data/*/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_module_that_the_architecture_names_exists() -> None:
    named = set(re.findall(r"`([a-z_/]+\.py)`", (ROOT / "docs/architecture.md").read_text()))
    package = ROOT / "audioctl"
    assert [name for name in named if not any(package.glob(f"**/{name}"))] == []


def test_the_architecture_names_every_stage_of_the_pipeline() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    stages = {"extract", "convert", "transcribe", "record", "upload", "effects", "run", "reading", "plan", "workers"}
    assert [name for name in stages if f"{name}.py" not in text] == []


def test_every_proof_that_reliability_names_exists() -> None:
    text = (ROOT / "docs/reliability.md").read_text()
    tests = set(re.findall(r"`(test_\w+)`", text))
    assert len(tests) > 10
    written = "\n".join(path.read_text() for path in (ROOT / "tests").glob("**/test_*.py"))
    assert [name for name in tests if f"def {name}(" not in written] == []
    assert [path for path in re.findall(r"`(tests/[\w/.]+)`", text) if not (ROOT / path).exists()] == []


def test_what_the_tutorial_says_that_commands_print_is_recorded() -> None:
    text = (ROOT / "docs/tutorial.md").read_text()
    recorded = re.findall(r"<!-- recorded: (\S+) -->\n```console\n\$ ", text)
    assert len(recorded) == text.count("```console")
    recorder = (ROOT / "tools/record_operations.py").read_text()
    assert [name for name in recorded if f'"{name}"' not in recorder] == []


def test_every_command_is_documented() -> None:
    documented = "\n".join(page.read_text() for page in PAGES)
    group = typer.main.get_command(build_app())
    commands = sorted(name for name, command in group.commands.items() if not command.hidden)  # type: ignore[attr-defined]
    assert len(commands) > 10
    assert [name for name in commands if f"audioctl {name}" not in documented and f"`{name}`" not in documented] == []


def test_operations_tells_what_each_of_slurms_words_means() -> None:
    rows = [line.split("|")[1:3] for line in (ROOT / "docs/operations.md").read_text().splitlines() if line[:1] == "|"]
    meant = {word.strip(): meaning for words, meaning in rows for word in words.split(",")}
    known = [*slurm_words._WAITING, *slurm_words._RUNNING, *slurm_words.ENDS, "CANCELLED"]
    assert [word for word in known if word not in meant] == []
    words_for = {
        JobPhase.WAITING: "submitted",
        JobPhase.RUNNING: "running",
        JobPhase.GONE: "failed",
        JobPhase.CANCELLED: "cancelled",
    }
    assert [word for word in known if words_for[slurm_words.phase_of(word)] not in meant[word]] == []


def test_operations_explains_every_state_reason_and_flag() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    words = [*Reason, *Flag, *(state for state in ArchiveState if state not in ("pending", "cancelled"))]
    assert [word.value for word in words if word.value not in text] == []
