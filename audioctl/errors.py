"""The exception tree. ``audioctl.cli.main`` is the one place that turns it into words and an exit code.

AudioctlError
├── UsageError               wrong arguments, nothing was done (2)
├── ConfigurationError       a setting is wrong or missing (4)
├── ArchiveError             an archive cannot be worked on
│   ├── ArchiveUnreadableError   missing, no permission, a disk error: trying again may help
│   ├── ArchiveDamagedError      its content is cut, corrupt, or no tar at all: only a new copy helps
│   └── ArchiveBusyError         another job holds its lease
│       └── ArchiveStillBusyError    and still does after a job has waited for it (75)
├── LeaseLostError           another job has taken this archive over; this one must stop
├── JournalError             a journal cannot be read or written
│   └── NewerJournalError        a newer audioctl wrote it
├── LedgerError              the ledger cannot be opened
├── ScratchError             scratch is full or not writable
├── ModelError               the recogniser cannot be loaded
├── RecordError              PostgreSQL cannot take the rows now
│   └── SchemaError          its tables are not what is needed: ``audioctl db upgrade`` (4)
├── UploadError              files did not reach the destination
├── SchedulerError           Slurm refused something
│   └── SchedulerSilentError     it did not answer: what it was asked for may have been done all the same
├── AlreadySubmittedError    everything that was to be submitted is under way
└── Drained                  a signal asked for an early end (75)
"""

from audioctl.states import Damage, ExitCode


class AudioctlError(Exception):
    """Something went wrong that a person can act on.

    ``message`` is a sentence: what is wrong, with which file. ``hint`` is what to type or change next.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AudioctlError):
    exit_code = ExitCode.USAGE


class ConfigurationError(AudioctlError):
    exit_code = ExitCode.CONFIGURATION


class ArchiveError(AudioctlError):
    pass


class ArchiveUnreadableError(ArchiveError):
    pass


class ArchiveDamagedError(ArchiveError):
    """``damage`` says how; whatever could be read before it was already handed out."""

    exit_code = ExitCode.LOOK

    def __init__(self, message: str, *, damage: Damage, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.damage = damage


class ArchiveBusyError(ArchiveError):
    pass


class ArchiveStillBusyError(ArchiveBusyError):
    exit_code = ExitCode.DRAINED


class LeaseLostError(AudioctlError):
    pass


class JournalError(AudioctlError):
    pass


class NewerJournalError(JournalError):
    pass


class LedgerError(AudioctlError):
    pass


class ScratchError(AudioctlError):
    pass


class ModelError(AudioctlError):
    exit_code = ExitCode.CONFIGURATION


class RecordError(AudioctlError):
    pass


class SchemaError(RecordError):
    exit_code = ExitCode.CONFIGURATION


class UploadError(AudioctlError):
    pass


class SchedulerError(AudioctlError):
    pass


class SchedulerSilentError(SchedulerError):
    pass


class AlreadySubmittedError(AudioctlError):
    pass


class Drained(AudioctlError):  # noqa: N818 - not an error: the shell is told to run us again
    exit_code = ExitCode.DRAINED
