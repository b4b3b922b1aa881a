"""Flags that set settings, made from the settings themselves, so that names, types and help are written once."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from audioctl.cli import completion
from audioctl.cli.context import CliContext
from audioctl.configuration import load_settings
from audioctl.settings import KEYS, Key, Settings

RECOGNISER_KEYS = (
    "transcribe.model",
    "transcribe.device",
    "transcribe.compute_type",
    "transcribe.language",
    "transcribe.process_batch_size",
    "transcribe.window_batch_size",
    "transcribe.profile",
    "transcribe.beam_size",
    "transcribe.vad",
)

PIPELINE_KEYS = (
    "paths.state_dir",
    "paths.scratch",
    "extract.stream_batch_size",
    "convert.num_workers",
    *RECOGNISER_KEYS,
    "upload.destination",
    "upload.max_concurrent_uploads",
    "upload.upload_timeout",
    "upload.ssh_key",
    "database.enabled",
)
"""What is set often for one piece of work."""

_NAMES = {"database.enabled": "--database/--no-database", "transcribe.vad": "--vad/--no-vad"}

_CHOICES_SHOWN = 4


def settings_flags(*dotted: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for each of these keys.

    The command takes ``settings: Settings`` instead, with the flags given already in force, and a ``typer.Context``
    named ``context``.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        keys = [KEYS[name] for name in dotted]
        signature = inspect.signature(command, eval_str=True)
        own = [parameter for name, parameter in signature.parameters.items() if name != "settings"]
        flags = [_parameter(key) for key in keys]

        @functools.wraps(command)
        def with_settings(**arguments: Any) -> None:
            overrides = {key.dotted: arguments.pop(_argument(key)) for key in keys}
            command(settings=settings_in_force(arguments["context"], overrides), **arguments)

        with_settings.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *flags)]
        )
        with_settings.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *flags)}
        return with_settings

    return decorate


def settings_in_force(context: typer.Context, overrides: dict[str, object] | None = None) -> Settings:
    """The settings for a command: files, environment, then its flags."""
    given = context.find_object(CliContext) or CliContext()
    return load_settings(overrides, config_file=given.config_file, environ=os.environ, cwd=Path.cwd()).settings


def _argument(key: Key) -> str:
    return key.dotted.replace(".", "_")


def _parameter(key: Key) -> inspect.Parameter:
    option = typer.Option(
        _NAMES.get(key.dotted, key.flag),
        help=_help(key),
        show_default=False,
        metavar=_metavar(key),
        autocompletion=completion.values(_choices(key)) if _choices(key) else None,
    )
    return inspect.Parameter(
        _argument(key),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[_plain_type(key) | None, option],
    )


def _plain_type(key: Key) -> type:
    """bool, int or str; what else there is to check, the settings check themselves."""
    declared = key.type
    while get_origin(declared) is Annotated:
        declared = get_args(declared)[0]
    return bool if declared is bool else int if declared is int else str


def _choices(key: Key) -> tuple[str, ...]:
    declared = get_args(key.type)[0] if get_origin(key.type) is Annotated else key.type
    return get_args(declared) if get_origin(declared) is Literal else ()


def _metavar(key: Key) -> str | None:
    declared = get_args(key.type)[0] if get_origin(key.type) is Annotated else key.type
    if declared is bool:
        return None
    if declared is int:
        return "N"
    if 1 < len(_choices(key)) <= _CHOICES_SHOWN:
        return "|".join(_choices(key))
    return "PATH" if key.kind == "location" else key.name.rpartition("_")[2].upper()


def _help(key: Key) -> str:
    """The first sentence of the description, because a command has many flags, and the setting's own default."""
    shows_default = key.default not in ("", ()) and not isinstance(key.default, bool)
    default = f"  [default: {key.default}]" if shows_default else ""
    sentence, _, _ = key.description.replace("`", "").partition(". ")
    return f"{sentence.removesuffix('.')}.{default}"
