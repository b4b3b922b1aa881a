"""docs/schemas says what ``--json`` prints: of every command, and as it really is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from jsonschema import Draft202012Validator
from psycopg import Connection
from workspace import DAY, SLOT, Workspace

from audioctl.cli import build_app
from tools.json_documents import DOCUMENTS
from tools.json_schemas import FOLDER, file_name, schemas

PAGE = FOLDER.parent / "json.md"


def commands_with_json(group: Any, *path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_with_json(command, *path, name)
        elif any("--json" in parameter.opts for parameter in command.params):
            yield " ".join((*path, name))


def test_every_command_with_json_has_a_schema() -> None:
    assert {*commands_with_json(typer.main.get_command(build_app())), "export"} == DOCUMENTS.keys()


def test_the_schemas_are_those_of_the_program() -> None:
    """`python -m tools.json_schemas` writes them anew."""
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == schemas()
    for path in FOLDER.iterdir():
        Draft202012Validator.check_schema(json.loads(path.read_text()))


def test_the_page_names_each_command_with_its_schema() -> None:
    rows = set(re.findall(r"^\| `([a-z -]+)` \| \[([a-z-]+\.json)\]\(schemas/", PAGE.read_text(), re.MULTILINE))
    assert rows == {(command, file_name(command)) for command in DOCUMENTS}


def closed(schema: Any) -> Any:
    """The same schema, to which nothing may be added: what a command prints beside it would be missing there."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    return inner | {"additionalProperties": False} if "properties" in schema else inner


def check(command: str, printed: str, *, lines: bool = False) -> list[Any]:
    """That what a command has printed, one document or one a line, is as its schema says; the documents."""
    schema = closed(json.loads((FOLDER / file_name(command)).read_text()))
    documents = [json.loads(text) for text in (printed.splitlines() if lines else [printed])]
    assert documents
    for document in documents:
        Draft202012Validator(schema).validate(document)
    return documents


@pytest.fixture
def worked_on(workspace: Workspace) -> Workspace:
    """A workspace whose one archive is done; a clip of it is rejected, and the file of another has been changed."""
    workspace.write_clips(4)
    archives = workspace.folder / "archives" / DAY
    archives.mkdir(parents=True)
    workspace.configure("paths", archives=str(archives.parent / "{day}"))
    (archives / f"0_{DAY}_{SLOT}.tar").write_bytes(workspace.archive.read_bytes())
    submitted = workspace.audioctl("submit-day", DAY, "--wait", "--json")
    assert submitted.returncode == 0, submitted.stderr
    check("submit-day", submitted.stdout)
    next(workspace.storage.rglob("*.opus")).write_bytes(b"changed")
    return workspace


def test_what_the_commands_print_is_as_their_schemas_say(worked_on: Workspace) -> None:
    archive = str(worked_on.folder / "archives" / DAY / f"0_{DAY}_{SLOT}.tar")
    for command, *arguments in (
        ("submit-day", DAY, "--dry-run"),
        ("submit-tar", DAY, archive, "12_40", "--dry-run"),
        ("resume", "--dry-run"),
        ("resume", DAY, "--dry-run"),
        ("process-tar", DAY, archive, SLOT),
        ("status",),
        ("status", DAY),
        ("status", DAY, "--failed"),
        ("status", DAY, "--why-slow"),
        ("search", "the"),
        ("report", DAY),
        ("verify", DAY),
        ("verify", DAY, "--repair", "--dry-run"),
        ("clean", "--dry-run"),
        ("clean", DAY, "--archives", "--dry-run"),
        ("doctor",),
        ("config", "show"),
        ("config", "path"),
    ):
        result = worked_on.audioctl(command, *arguments, "--json")
        assert result.returncode in (0, 1, 3), result.stderr
        check(f"{command} {arguments[0]}" if command == "config" else command, result.stdout)


def test_the_documents_of_this_day_are_full(worked_on: Workspace) -> None:
    """What holds nothing is right by any schema."""
    [verified] = check("verify", worked_on.audioctl("verify", DAY, "--repair", "--dry-run", "--json").stdout)
    assert verified["differences"][0].keys() >= {"repair", "next"}
    [status] = check("status", worked_on.audioctl("status", DAY, "--why-slow", "--json").stdout)
    assert status["days"][0]["archives"]
    assert status["days"][0]["why_slow"]["parts"]
    [report] = check("report", worked_on.audioctl("report", DAY, "--json").stdout)
    assert report["days"][0]["attempts"]
    assert report["days"][0]["series"]
    [found] = check("search", worked_on.audioctl("search", next(iter(worked_on.said.values())), "--json").stdout)
    assert found["hits"]


def test_so_are_exported_clips(worked_on: Workspace) -> None:
    assert len(check("export", worked_on.audioctl("export", DAY).stdout, lines=True)) == 4
    as_one = json.loads(worked_on.audioctl("export", DAY, "--format", "json").stdout)
    assert as_one == check("export", worked_on.audioctl("export", DAY).stdout, lines=True)


def test_so_is_what_tune_measures(workspace: Workspace) -> None:
    workspace.write_clips(4)
    result = workspace.audioctl(
        "tune", str(workspace.archive), "--clips", "2", "--minutes", "0.2", "--differences", "--json"
    )
    assert result.returncode == 0, result.stderr
    [tuned] = check("tune", result.stdout)
    assert tuned["measured"]


def test_so_is_the_check_of_a_database(workspace: Workspace, empty: Connection) -> None:
    workspace.configure("database", enabled=True)
    result = workspace.audioctl("db", "check", "--json")
    [checked] = check("db check", result.stdout)
    assert checked["differences"]
    assert empty.info.dbname
