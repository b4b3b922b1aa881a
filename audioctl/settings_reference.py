"""All settings as text for people: the commented file of ``audioctl init`` and docs/configuration.md."""

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from audioctl.setting_values import toml_value, wanted
from audioctl.settings import KEYS, Key, section_types

_COMMENT_WIDTH = 100

_EXAMPLE_HEAD = """\
# Settings of audioctl. A key that begins with # has the value shown; remove the # to change it.
# Command flags and AUDIOCTL_<SECTION>__<KEY> variables win over this file.
# `audioctl config show --origin` tells where each value comes from.
"""

_REFERENCE_HEAD = """\
# Configuration

<!-- Written by `audioctl config reference`; do not edit. -->

Nothing needs to be set: with no file at all, archives are processed on this machine, with state in
`./audioctl-state`, storage in `./audioctl-storage` and no database. `audioctl init` writes a commented
`audioctl.toml` to start from, and `audioctl config show --origin` tells where each value comes from.

## Where values come from

The first that has a key wins:

1. a flag of the command;
2. the environment variable `AUDIOCTL_<SECTION>__<KEY>`, for example `AUDIOCTL_UPLOAD__DESTINATION`;
3. `./audioctl.toml`, in the current folder;
4. the user's file, `$XDG_CONFIG_HOME/audioctl/config.toml` (`~/.config` where that is not set);
5. the site's files, `audioctl/config.toml` below each folder of `$XDG_CONFIG_DIRS` (`/etc/xdg`);
6. the default.

`--config FILE`, or `AUDIOCTL_CONFIG=FILE`, takes the place of all files. `audioctl config path` lists the files
that are looked at.

Each run keeps a copy of the settings it was submitted with, marked `frozen = true`, with every local path made
absolute. Its jobs read that copy: neither a later edit nor an environment variable changes a run that has begun.

An unknown section, key or `AUDIOCTL_…__…` variable is an error that names the nearest one that exists.

## How values are written

- Relative paths are relative to the current folder, wherever the file lies; `~` is the home folder.
- Sizes are `"64K"`, `"512M"`, `"1G"` (powers of 1024) or a number of bytes. Durations are seconds, except
  `slurm.time`, which is Slurm's own text.
- In environment variables, lists are separated by commas (`en,de`) or written as in TOML
  (`["--exclude=node1,node2"]`); yes and no are `true`, `false`, `yes`, `no`, `on`, `off`, `1`, `0`.
- No setting holds a secret. Passwords stay where libpq and ssh look for them.
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of one key at this site: a ``value`` for it, or None to leave it, and a ``remark`` for people."""

    value: object = None
    remark: str = ""


_NOTHING = Found()


def example_toml(found: Mapping[str, Found] = MappingProxyType({})) -> str:
    """A complete ``audioctl.toml`` in which every key is explained, and commented out but for the values ``found``, by
    dotted key."""
    lines = [_EXAMPLE_HEAD]
    for section, keys in _sections():
        lines += [*_comment(section_description(section)), f"[{section}]", ""]
        for key in keys:
            here = found.get(key.dotted, _NOTHING)
            value = key.default if here.value is None else here.value
            line = f"{key.name} = {toml_value(key, value)}"
            lines += [*_comment(_explanation(key)), *_comment(here.remark)]
            lines += [line if here.value is not None else f"# {line}", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def reference_markdown() -> str:
    """The text of docs/configuration.md."""
    blocks = [_REFERENCE_HEAD]
    for section, keys in _sections():
        rows = [
            f"| `{key.name}` | `{toml_value(key, key.default)}` | {_cell(key.description)} | {_cell(wanted(key))} |"
            for key in keys
        ]
        table = "\n".join(["| key | default | meaning | value |", "| --- | --- | --- | --- |", *rows])
        blocks.append(f"## [{section}]\n\n{section_description(section)}\n\n{table}\n")
    return "\n".join(blocks)


def section_description(section: str) -> str:
    return inspect.getdoc(section_types()[section]) or ""


def _sections() -> Iterator[tuple[str, list[Key]]]:
    for section in section_types():
        yield section, [key for key in KEYS.values() if key.section == section]


def _explanation(key: Key) -> str:
    """The description, with the values that are possible where the shown default does not tell."""
    obvious = isinstance(key.default, bool | str | tuple) and '"' not in wanted(key)
    return key.description if obvious else f"{key.description} ({wanted(key)})"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _COMMENT_WIDTH,
        initial_indent="# ",
        subsequent_indent="# ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
