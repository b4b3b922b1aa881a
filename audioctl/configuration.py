"""Where settings come from. The first that has a key wins:

flag > ``AUDIOCTL_<SECTION>__<KEY>`` > ``./audioctl.toml`` > the user's file > the site's files > default

The user's file is ``$XDG_CONFIG_HOME/audioctl/config.toml``, the site's are ``audioctl/config.toml`` below each
folder of ``$XDG_CONFIG_DIRS``. ``--config FILE`` or ``AUDIOCTL_CONFIG`` takes the place of all files. A run keeps a
frozen file of all that was in force when it was submitted; where a frozen file is read, variables change nothing.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import msgspec
import platformdirs

from audioctl.errors import ConfigurationError
from audioctl.setting_values import read_text, read_value, toml_value
from audioctl.settings import KEYS, Key, Settings, section_types

PROJECT_FILE = "audioctl.toml"
CONFIG_VARIABLE = "AUDIOCTL_CONFIG"
_PREFIX = "AUDIOCTL_"
_FROZEN = "frozen"


@dataclass(frozen=True)
class LoadedSettings:
    settings: Settings
    origins: dict[str, str]
    """For each dotted key: ``default``, ``flag --x``, the name of a variable, or the path of a file."""


Layer = Iterator[tuple[Key, object, str]]
"""Keys with their values, and where those stand."""


def config_files(*, config_file: Path | None, environ: Mapping[str, str], cwd: Path) -> list[Path]:
    """The files that are looked at, first the one that wins; they need not exist."""
    chosen = config_file or environ.get(CONFIG_VARIABLE)
    if chosen:
        return [cwd / chosen]
    folders = platformdirs.PlatformDirs("audioctl").iter_config_paths()
    return [cwd / PROJECT_FILE, *(folder / "config.toml" for folder in folders)]


def load_settings(
    overrides: Mapping[str, object] | None = None,
    *,
    config_file: Path | None,
    environ: Mapping[str, str],
    cwd: Path,
) -> LoadedSettings:
    """The settings in force, and where each comes from.

    ``overrides`` are values of flags by dotted key; None means that the flag was not given. Raises
    ConfigurationError for a file that cannot be read, for an unknown key and for a wrong value.
    """
    files = config_files(config_file=config_file, environ=environ, cwd=cwd)
    must_exist = bool(config_file or environ.get(CONFIG_VARIABLE))
    tables = [(path, table) for path in files if (table := _read_file(path, must_exist)) is not None]
    frozen = any(_is_frozen(path, table) for path, table in tables)

    values: dict[str, object] = {key.dotted: key.default for key in KEYS.values()}
    origins = dict.fromkeys(values, "default")
    layers = [_from_table(path, table) for path, table in reversed(tables)]
    if not frozen:
        layers.append(_from_environment(environ))
    layers.append(_from_flags(overrides or {}))
    for layer in layers:
        for key, value, origin in layer:
            values[key.dotted] = value
            origins[key.dotted] = origin
    return LoadedSettings(_build(values), origins)


def settings_files(*, config_file: Path | None, environ: Mapping[str, str], cwd: Path) -> list[Path]:
    """Those of ``config_files`` that are there."""
    return [path for path in config_files(config_file=config_file, environ=environ, cwd=cwd) if path.exists()]


def freeze(settings: Settings, cwd: Path) -> Settings:
    """The same settings with every local path absolute, so that they mean the same in every folder and on every node.

    Remote destinations, image URLs, names of models, leading ``$VARIABLES`` and ``{day}`` stay as they are.
    """
    return _build({key.dotted: _absolute(key, key.value_in(settings), cwd) for key in KEYS.values()})


def dump_toml(settings: Settings, *, frozen: bool) -> str:
    """A complete file of these settings; with ``frozen``, one that variables do not change when it is read."""
    lines = [f"{_FROZEN} = true"] if frozen else []
    for section in section_types():
        lines += ["", f"[{section}]"] if lines else [f"[{section}]"]
        lines += [
            f"{key.name} = {toml_value(key, key.value_in(settings))}" for key in KEYS.values() if key.section == section
        ]
    return "\n".join(lines) + "\n"


def is_remote(location: str) -> bool:
    """Whether a location names another host or a URL: a colon before the first slash, as rsync decides it."""
    return ":" in location.partition("/")[0]


def _read_file(path: Path, must_exist: bool) -> dict[str, object] | None:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        if not must_exist:
            return None
        raise ConfigurationError(
            f"The configuration file {path} does not exist.",
            hint=f"Check --config and {CONFIG_VARIABLE}, or write a file with `audioctl init`.",
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"The configuration file {path} cannot be read: {error.strerror}.",
            hint="Give yourself the right to read it, or name another one with --config.",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"The configuration file {path} is not UTF-8 text.", hint="Save it as UTF-8."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"The configuration file {path} is not valid TOML: {error}.",
            hint='Texts stand in quotes: key = "text".',
        ) from error


def _is_frozen(path: Path, table: dict[str, object]) -> bool:
    frozen = table.get(_FROZEN, False)
    if not isinstance(frozen, bool):
        raise ConfigurationError(f"{_FROZEN} in {path} must be true or false.")
    return frozen


def _from_table(path: Path, table: dict[str, object]) -> Layer:
    for section, entries in table.items():
        if section == _FROZEN:
            continue
        if section not in section_types():
            raise _unknown(f"There is no section {section!r} ({path})", _nearest(section))
        if not isinstance(entries, dict):
            raise ConfigurationError(
                f"{section!r} in {path} must be a section.", hint=f"Write [{section}] and its keys below."
            )
        for name, value in entries.items():
            key = KEYS.get(f"{section}.{name}")
            if key is None:
                raise _unknown(f"There is no key {name!r} in [{section}] ({path})", _nearest(f"{section}.{name}"))
            yield key, read_value(key, value, str(path)), str(path)


def _from_environment(environ: Mapping[str, str]) -> Layer:
    for variable, text in environ.items():
        # Variables without ``__``, such as AUDIOCTL_CONFIG, are no settings.
        if not variable.startswith(_PREFIX) or "__" not in variable:
            continue
        section, _, name = variable.removeprefix(_PREFIX).lower().partition("__")
        key = KEYS.get(f"{section}.{name}")
        if key is None:
            nearest = KEYS[_nearest(f"{section}.{name}")]
            raise _unknown(f"There is no setting for the variable {variable}", nearest.variable)
        yield key, read_text(key, text, variable), variable


def _from_flags(overrides: Mapping[str, object]) -> Layer:
    for dotted, value in overrides.items():
        if value is not None:
            key = KEYS[dotted]
            yield key, read_value(key, value, key.flag), f"flag {key.flag}"


def _build(values: Mapping[str, object]) -> Settings:
    sections: dict[str, dict[str, object]] = {section: {} for section in section_types()}
    for key in KEYS.values():
        sections[key.section][key.name] = values[key.dotted]
    return msgspec.convert(sections, type=Settings)


def _absolute(key: Key, value: object, cwd: Path) -> object:
    if not isinstance(value, str) or not value or key.kind not in ("location", "name_or_folder"):
        return value
    if is_remote(value) or value.startswith("$"):
        return value
    path = cwd / value
    is_name = key.kind == "name_or_folder" and not value.startswith((".", "/")) and not path.is_dir()
    return value if is_name else str(path)


def _unknown(problem: str, nearest: str) -> ConfigurationError:
    return ConfigurationError(
        f"{problem}; the nearest is {nearest}.", hint="`audioctl config show` lists every setting."
    )


def _nearest(wrong: str) -> str:
    """The dotted key, or the section, that ``wrong`` was most likely meant to be."""
    section, _, name = wrong.rpartition(".")
    same_name = [dotted for dotted, key in KEYS.items() if key.name == name]
    in_section = [dotted for dotted, key in KEYS.items() if key.section == section]
    everything = list(KEYS) if section else list(section_types())
    return get_close_matches(wrong, same_name or in_section or everything, n=1, cutoff=0)[0]
