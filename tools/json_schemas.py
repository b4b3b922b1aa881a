"""Writes docs/schemas: a JSON Schema (2020-12) for each command's ``--json``.

python -m tools.json_schemas
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from tools.json_documents import DOCUMENTS

FOLDER = Path(__file__).parent.parent / "docs" / "schemas"


def schemas() -> dict[str, str]:
    """The content of each file, by its name."""
    return {file_name(command): _text(command, document) for command, document in DOCUMENTS.items()}


def file_name(command: str) -> str:
    return f"{command.replace(' ', '-')}.json"


def _text(command: str, document: type) -> str:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"audioctl {command}",
        **_plain(msgspec.json.schema(document)),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _plain(schema: Any) -> Any:
    """As the program writes it: every field is there, its default too; and a newer program may have more fields."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _plain(value) for name, value in schema.items() if name != "default" or isinstance(value, dict)}
    if isinstance(properties := schema.get("properties"), dict):
        always = [
            name for name, value in properties.items() if name in schema.get("required", []) or "default" in value
        ]
        plain["required"] = always
        if plain.get("additionalProperties") is False:
            del plain["additionalProperties"]
    if isinstance(description := plain.get("description"), str):
        plain["description"] = " ".join(description.replace("``", "`").split())
    return plain


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for name, text in schemas().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
