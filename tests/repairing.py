"""Typing ``verify --repair``, and what tests compare before and after it."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from workspace import DAY, Result, Workspace

from audioctl.states import ExitCode

RESUME = f"audioctl resume {DAY}"
FIRST, OTHER, MEMBER = "12_00", "12_10", "1.mp3"

Rows = list[tuple[Any, ...]]


def contents(folder: Path, *, without: Collection[str] = (".db", ".lease")) -> dict[str, tuple[int, bytes]]:
    """Each file below the folder with its time."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in without
    }


def verify(workspace: Workspace, *arguments: str) -> Result:
    result = workspace.audioctl("verify", DAY, *arguments)
    assert "Traceback" not in result.stderr
    return result


def repair(workspace: Workspace, *arguments: str) -> Result:
    return verify(workspace, "--checksum", "--repair", *arguments)


def assert_proved(workspace: Workspace) -> None:
    result = verify(workspace, "--checksum")
    assert result.returncode == ExitCode.DONE, result.stdout


def archives(workspace: Workspace) -> list[dict[str, Any]]:
    (day,) = json.loads(workspace.audioctl("status", DAY, "--json").stdout)["days"]
    return list(day["archives"])
