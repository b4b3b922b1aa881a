"""One way into PostgreSQL, and one place that turns what it says into sentences.

No message here ever holds a password: libpq's own messages do not, and a connection string that libpq would
read differently from what its writer meant (and then quote) is refused before libpq sees it.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PGconn

from audioctl.environment import DATABASE_CREDENTIALS, DATABASE_PASSWORD
from audioctl.errors import ConfigurationError, RecordError, SchemaError
from audioctl.states import ExitCode

CREDENTIALS_VARIABLE = DATABASE_CREDENTIALS

CONNECT_TIMEOUT_SECONDS = 10
"""Where neither the connection string nor PGCONNECT_TIMEOUT says otherwise."""

# A server that vanished without a word (a firewall, a dead node) is noticed after this long, not after hours.
_UNANSWERED_MILLISECONDS = 30_000

_ENCODE_HINT = (
    f"{CREDENTIALS_VARIABLE} looks like 'host=... dbname=... user=... password=...' or "
    "'postgresql://user:password@host/database'; in the second form, write @ / : ? % of a password as %40 %2F "
    "%3A %3F %25."
)


class RecordRefusedError(RecordError):
    """PostgreSQL said no, and will say no again: bad credentials, no permission, a row that breaks a rule."""

    exit_code = ExitCode.CONFIGURATION


@dataclass(frozen=True, slots=True)
class _Diagnosis:
    pattern: re.Pattern[str]
    sentence: str
    hint: str
    error: type[RecordError]


# libpq gives a failed connection no SQLSTATE, only words. They are English unless the server itself is set up in
# another language; what is not recognised is tried again, which is the safe side.
_DIAGNOSES = (
    _Diagnosis(
        re.compile(r"definition of service .* not found"),
        "PostgreSQL's service file does not name this service",
        "Correct the setting database.service, or add the service to ~/.pg_service.conf.",
        RecordRefusedError,
    ),
    _Diagnosis(
        re.compile(r"database .* does not exist"),
        "PostgreSQL has no such database",
        f"Correct the database name in {CREDENTIALS_VARIABLE} or PGDATABASE, or create it with createdb.",
        RecordRefusedError,
    ),
    _Diagnosis(
        re.compile(r"authentication failed|no password supplied|no pg_hba.conf entry|role .* does not exist"),
        "PostgreSQL refuses these credentials",
        f"Check user and password in {CREDENTIALS_VARIABLE}, PGUSER and ~/.pgpass (mode 0600).",
        RecordRefusedError,
    ),
    _Diagnosis(
        re.compile(r"could not translate host name|failed to resolve host"),
        "PostgreSQL's host is not known",
        f"Check the host in {CREDENTIALS_VARIABLE} or PGHOST.",
        RecordError,
    ),
    _Diagnosis(
        re.compile(r"Connection refused|No such file or directory|timeout expired|timed out"),
        "PostgreSQL does not answer",
        f"Check that the server runs, and the host and port in {CREDENTIALS_VARIABLE} or PGHOST and PGPORT.",
        RecordError,
    ),
)


def connect(
    *, service: str = "", application_name: str = "audioctl", secrets: Mapping[str, str] = os.environ
) -> psycopg.Connection:
    """A connection in autocommit mode, in UTF-8; ``with connection.transaction()`` makes a transaction.

    DB_CREDS, a libpq connection string in the environment, wins over ``service``, a section of libpq's service
    file; with neither, libpq decides (PG* variables, ~/.pgpass). ``secrets`` are those of the environment, in which
    they may not be any more. Raises ConfigurationError when DB_CREDS cannot be
    read, RecordRefusedError when the server says no, RecordError when it does not answer.
    """
    parameters = _parameters(service, secrets)
    if DATABASE_PASSWORD in secrets and not _has_password(parameters):
        parameters["password"] = secrets[DATABASE_PASSWORD]
    if "connect_timeout" not in parameters and "PGCONNECT_TIMEOUT" not in os.environ:
        parameters["connect_timeout"] = CONNECT_TIMEOUT_SECONDS
    parameters.setdefault("tcp_user_timeout", _UNANSWERED_MILLISECONDS)
    parameters |= {"application_name": application_name, "client_encoding": "UTF8"}
    with record_errors():
        connection = psycopg.connect("", autocommit=True, **parameters)  # type: ignore[arg-type]
    # What the statements in ``rows`` rely on: each sees what others committed while the one before it waited.
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    return connection


@contextmanager
def record_errors() -> Iterator[None]:
    """Turns psycopg's errors into RecordError (try again), RecordRefusedError and SchemaError (do not).

    Also a decorator. Only the first line is kept: a DETAIL may quote a whole row.
    """
    try:
        yield
    except psycopg.Error as error:
        raise _in_words(error) from error


def _parameters(service: str, secrets: Mapping[str, str]) -> dict[str, object]:
    credentials = secrets.get(CREDENTIALS_VARIABLE)
    if not credentials:
        return {"service": service} if service else {}
    parameters = _parsed(credentials)
    # An unencoded @ or / of a password moves the borders of an URI, so that a part of the password becomes the
    # host or the database, which libpq quotes. An @ is then left over in that part.
    strayed = any("@" in str(value) for key, value in (parameters or {}).items() if key not in ("user", "password"))
    if parameters is None or strayed:
        raise ConfigurationError(
            f"{CREDENTIALS_VARIABLE} is not a connection string that libpq can read.", hint=_ENCODE_HINT
        )
    return parameters


def _has_password(parameters: dict[str, object]) -> bool:
    """Whether libpq finds one in these, in the service that they or PGSERVICE name, or in the environment.

    Nobody but libpq reads service files, and it tells only of a connection: this one goes nowhere.
    """
    nowhere = make_conninfo("", **{**parameters, "host": "/", "hostaddr": ""})  # type: ignore[arg-type]
    connection = PGconn.connect_start(nowhere.encode())
    try:
        return any(option.keyword == b"password" and option.val for option in connection.info)
    finally:
        connection.finish()


def _parsed(credentials: str) -> dict[str, object] | None:
    """``None`` for a malformed string: psycopg's error quotes it, and must not become anyone's ``__context__``."""
    try:
        return dict(conninfo_to_dict(credentials))
    except psycopg.ProgrammingError:
        return None


def _in_words(error: psycopg.Error) -> RecordError:
    words = (error.diag.message_primary or str(error)).partition("\n")[0].rstrip(".")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return RecordRefusedError(
            f"PostgreSQL does not permit this: {words}.",
            hint="Ask the owner of the tables for SELECT, INSERT and UPDATE, or to run `audioctl db upgrade`.",
        )
    if isinstance(error, psycopg.ProgrammingError):
        return SchemaError(
            f"PostgreSQL's tables are not what is needed: {words}.",
            hint="Run `audioctl db upgrade`; `audioctl db check` names what differs.",
        )
    if isinstance(error, psycopg.IntegrityError | psycopg.DataError | psycopg.NotSupportedError):
        return RecordRefusedError(
            f"PostgreSQL does not take these rows: {words}.",
            hint="`audioctl db check` names what differs from the tables that are needed.",
        )
    for diagnosis in _DIAGNOSES:
        if diagnosis.pattern.search(words):
            return diagnosis.error(f"{diagnosis.sentence}: {words}.", hint=diagnosis.hint)
    return RecordError(
        f"PostgreSQL cannot take the rows now: {words}.", hint="The server's own log says more; try again later."
    )
