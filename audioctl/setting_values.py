"""One value of one key: read from TOML, from a flag or from the text of a variable, and written as TOML."""

import json
import os.path
import tomllib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Literal, get_args, get_origin

import msgspec
from msgspec import inspect

from audioctl.errors import ConfigurationError
from audioctl.settings import Key, format_size, parse_size

_BOOLEANS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def wanted(key: Key) -> str:
    """What a value of this key has to be, in words."""
    if key.kind == "size":
        return 'a size such as "512M", or a number of bytes'
    declared = get_args(key.type)[0]
    if get_origin(declared) is Literal:
        return "one of " + ", ".join(json.dumps(choice) for choice in get_args(declared))
    match key.plain_type:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=int(least), le=None):
            return f"a whole number, at least {least}"
        case inspect.IntType(ge=least, le=most):
            return f"a whole number from {least} to {most}"
        case inspect.VarTupleType():
            return "a list of texts"
        case inspect.StrType(pattern=str(pattern)):
            return f"text that matches {pattern}"
    return "text"


def read_value(key: Key, value: object, where: str) -> object:
    """A value from a file (``where``) or a flag, checked; raises ConfigurationError."""
    if isinstance(value, str):
        value = str.__str__(value)  # a flag may give a StrEnum
        if key.kind == "size":
            value = _size_or_text(value)
    elif isinstance(key.plain_type, inspect.StrType) and (type(value) is int or isinstance(value, PurePath)):
        value = str(value)  # `gpus = 2` and `mem = 96000` mean what they say, and a flag may give a Path
    return _convert(key, value, where)


def read_text(key: Key, text: str, where: str) -> object:
    """A value from an environment variable: lists are separated by commas, or written as in TOML."""
    stripped = text.strip()
    match key.plain_type:
        case inspect.BoolType():
            return _convert(key, _BOOLEANS.get(stripped.lower(), text), where)
        case inspect.VarTupleType():
            return _convert(key, _split(stripped), where)
        case inspect.IntType() if key.kind == "size":
            return _convert(key, _size_or_text(stripped), where)
        case inspect.IntType():
            return _convert(key, int(stripped) if stripped.isascii() and stripped.isdigit() else text, where)
    return _convert(key, text, where)


def toml_value(key: Key, value: object) -> str:
    """The value as TOML text that ``read_value`` takes back."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return _toml_string(format_size(value)) if key.kind == "size" else str(value)
        case tuple():
            return "[" + ", ".join(_toml_string(item) for item in value) + "]"
    return _toml_string(str(value))


def _convert(key: Key, value: object, where: str) -> object:
    try:
        converted = msgspec.convert(value, type=key.type)
        json.dumps(converted, ensure_ascii=False).encode()
    except msgspec.ValidationError:
        raise ConfigurationError(
            f"{key.dotted} is {_shown(value)} in {where}, but it must be {wanted(key)}.",
            hint=f"Correct {key.dotted}, or remove it to have {toml_value(key, key.default)}.",
        ) from None
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"{key.dotted} in {where} is not valid UTF-8.", hint="A configuration file can hold UTF-8 only."
        ) from None
    if key.kind in ("location", "name_or_folder"):
        return os.path.expanduser(str(converted))  # noqa: PTH111 - Path would drop a leading ./ and the // of a URL
    return converted


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return ascii(value) if not value.isprintable() else f'"{value}"'
    return str(value)


def _size_or_text(text: str) -> int | str:
    try:
        return parse_size(text)
    except ValueError:
        return text


def _split(text: str) -> object:
    if text.startswith("["):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return [item.strip() for item in text.split(",") if item.strip()]


def _toml_string(text: str) -> str:
    # A TOML basic string is a JSON string that also escapes DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
