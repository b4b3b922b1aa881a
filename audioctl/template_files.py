"""The Jinja templates of job scripts: where they are, which others each needs, and what is wrong with one."""

import shlex
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import jinja2
import jinja2.meta

from audioctl.errors import ConfigurationError


def templates_path() -> Path:
    """The templates that come with audioctl: inside the package, or beside it in a source checkout."""
    package = Path(__file__).parent
    installed = package / "hpc_templates"
    return installed if installed.is_dir() else package.parent / "hpc_templates"


def environment_of(overrides: str) -> jinja2.Environment:
    """The user's folder goes first, also for what our own templates extend; ``shipped/NAME`` always is ours."""
    if overrides and not Path(overrides).is_dir():
        raise ConfigurationError(
            f"The template folder {overrides} does not exist.", hint="Correct or remove paths.templates."
        )
    shipped = jinja2.FileSystemLoader(templates_path())
    own = [jinja2.FileSystemLoader(overrides)] if overrides else []
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PrefixLoader({"shipped": shipped}), *own, shipped]),
        undefined=jinja2.StrictUndefined,
        comment_start_string="{##",  # because {# is how bash begins the length of an array
        comment_end_string="##}",
        autoescape=False,  # shell, where `shquote` does what escaping does in HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["shquote"] = lambda value: shlex.quote(str(value))
    return environment


def sources(environment: jinja2.Environment, *names: str) -> list[Path]:
    """The files of these templates and of those that they extend or include."""
    assert environment.loader is not None
    files: dict[str, Path] = {}
    ahead = list(names)
    while ahead:
        name = ahead.pop(0)
        if name in files:
            continue
        # What is missing may be optional; if not, rendering tells who asked for it.
        with suppress(jinja2.TemplateNotFound):
            source, file, _ = environment.loader.get_source(environment, name)
            files[name] = Path(file or name)
            below = jinja2.meta.find_referenced_templates(environment.parse(source, name, file))
            ahead += filter(None, below)
    return list(dict.fromkeys(files.values()))


@contextmanager
def named_faults() -> Iterator[None]:
    """Whatever is wrong with a template, it is told with its file and line. Raises ConfigurationError."""
    try:
        yield
    except Exception as error:  # a user's template may do anything
        match error:
            case jinja2.TemplateNotFound():
                fault = f"there is no template {error.name!r}"
            case RecursionError():
                fault = "it extends itself; the one that comes with audioctl is shipped/NAME"
            case _:
                fault = str(error)
        raise ConfigurationError(
            f"The scripts for jobs cannot be made: {_place_in_template(error)}{fault}.",
            hint=f"Compare your template with the one in {templates_path()}.",
        ) from error


def _place_in_template(error: Exception) -> str:
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"{error.filename}, line {error.lineno}: "
    # Jinja puts lines of templates into tracebacks.
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.endswith(".py")]
    return f"{frames[-1].filename}, line {frames[-1].lineno}: " if frames else ""
