"""Reads Apptainer definition files, as far as ours goes: anything it does not know is an error."""

from dataclasses import dataclass
from pathlib import Path

HEADER = {"Bootstrap", "From"}
SECTIONS = {"files", "post", "environment", "labels", "test", "runscript", "help"}


@dataclass(frozen=True)
class Definition:
    header: dict[str, str]
    sections: dict[str, str]

    def copies(self) -> list[tuple[str, str]]:
        """What ``%files`` names: source on the host, target in the image."""
        return [_pair(line) for line in self.sections["files"].splitlines() if line.strip()]

    def labels(self) -> dict[str, str]:
        return labels_in(self.sections["labels"])


def read_definition(path: Path) -> Definition:
    """Raises ValueError at what is not understood."""
    header: dict[str, str] = {}
    sections: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in path.read_text().splitlines():
        if line.startswith("%"):
            name = line.removeprefix("%").rstrip()
            if name not in SECTIONS or name in sections:
                raise ValueError(f"{line!r} begins no section that is known, or one that was there before.")
            current = sections[name] = []
        elif current is not None:
            current.append(line)
        elif line.strip() and not line.startswith("#"):
            key, _, value = line.partition(":")
            if key not in HEADER or key in header:
                raise ValueError(f"{line!r} is no line of a header.")
            header[key] = value.strip()
    return Definition(header, {name: "\n".join([*lines, ""]) for name, lines in sections.items()})


def labels_in(text: str) -> dict[str, str]:
    """A line is a name, a space, and a value that may have spaces."""
    return dict(_pair(line) for line in text.splitlines() if line.strip())


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.strip().partition(" ")
    return name, value.strip()
