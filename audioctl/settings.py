"""What can be set: every section and key with its type, default and description, in this one place.

``audioctl init``, ``config show`` and docs/configuration.md are made from these structs. Where the values come from is
``audioctl.configuration``. An empty text or list means "not set".
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=1)]
CountOrAuto = Annotated[int, Meta(ge=0)]
"""0 has the program choose."""
Seconds = Annotated[int, Meta(ge=1)]
Texts = tuple[str, ...]
# ``extra`` tells what a plain type cannot: how the text of the value is read.
ByteSize = Annotated[int, Meta(ge=1, extra={"kind": "size"})]
Location = Annotated[str, Meta(extra={"kind": "location"})]
"""A local path, which may be relative or begin with ``~``, or something remote such as ``user@host:path``."""
NameOrFolder = Annotated[str, Meta(extra={"kind": "name_or_folder"})]


class Paths(Struct, frozen=True, forbid_unknown_fields=True):
    """Where archives are found and where audioctl keeps its own files."""

    archives: Annotated[
        Location, Meta(description="Folder with the archives of a day; `{day}` stands for YYYY-MM-DD.")
    ] = "./archives/{day}"
    pattern: Annotated[
        str,
        Meta(description="Names of the archives in it; `{day}` and `{slot}` stand for YYYY-MM-DD and HH_MM."),
    ] = "*_{day}_{slot}.tar*"
    scratch: Annotated[
        Location,
        Meta(
            description="Fast local folder for files that wait for their upload. When empty, the first usable of "
            "`$SLURM_TMPDIR`, `$TMPDIR`, `$LOCAL_SCRATCH` and `/tmp`."
        ),
    ] = ""
    state_dir: Annotated[
        Location,
        Meta(description="Folder for runs, journals, logs and the ledger; login and compute nodes must share it."),
    ] = "./audioctl-state"
    models: Annotated[
        Location,
        Meta(
            description="Folder on a shared disk to which `audioctl model fetch` brings models and where jobs look for "
            "them first. When empty, the cache of the Hugging Face Hub (`HF_HOME`)."
        ),
    ] = ""
    templates: Annotated[
        Location, Meta(description="Folder with templates of job scripts that replace those of the same name.")
    ] = ""


class Submit(Struct, frozen=True, forbid_unknown_fields=True):
    """How work is started."""

    executor: Annotated[
        Literal["local", "slurm"],
        Meta(description="Where archives are worked on: local is this machine, slurm a cluster."),
    ] = "local"


class Local(Struct, frozen=True, forbid_unknown_fields=True):
    """The local executor."""

    max_concurrent: Annotated[Count, Meta(description="Archives worked on at the same time.")] = 2


class Slurm(Struct, frozen=True, forbid_unknown_fields=True):
    """The Slurm executor. Texts go to sbatch as they are; an empty one leaves the choice to the site."""

    partition: Annotated[str, Meta(description="Partition, as in `sbatch --partition`.")] = ""
    account: Annotated[str, Meta(description="Account, as in `sbatch --account`.")] = ""
    qos: Annotated[str, Meta(description="Quality of service, as in `sbatch --qos`.")] = ""
    gpus: Annotated[
        str, Meta(description='GPUs of a job, as in `sbatch --gpus`: "1" or "h100:1". Some sites want gres.')
    ] = ""
    gres: Annotated[str, Meta(description='Generic resources, as in `sbatch --gres`: "gpu:1" or "gpu:h100:1".')] = ""
    constraint: Annotated[str, Meta(description="Features of the nodes, as in `sbatch --constraint`.")] = ""
    reservation: Annotated[str, Meta(description="Reservation, as in `sbatch --reservation`.")] = ""
    exclude: Annotated[str, Meta(description="Nodes not to use, as in `sbatch --exclude`.")] = ""
    cpus_per_task: Annotated[Count, Meta(description="CPU cores of a job.")] = 12
    mem: Annotated[str, Meta(description='Memory of a job, as in `sbatch --mem`: "96G".')] = "96G"
    time: Annotated[str, Meta(description='Time limit of a job, as in `sbatch --time`: "02:00:00".')] = "02:00:00"
    max_concurrent: Annotated[Count, Meta(description="Jobs of one day that run at the same time.")] = 8
    days_at_once: Annotated[
        Count, Meta(description="Of a range of days, how many may be worked on at the same time.")
    ] = 2
    archives_per_job: Annotated[
        Count, Meta(description="Archives that one job works on, one after the other; needs more time.")
    ] = 1
    drain_seconds: Annotated[
        Seconds,
        Meta(description="Seconds before the time limit at which a job stops taking on work and finishes what it has."),
    ] = 300
    modules: Annotated[Texts, Meta(description="Environment modules to load in a job.")] = ()
    mail_user: Annotated[
        str, Meta(description="Address for Slurm's mail about the job that finishes the day; empty for none.")
    ] = ""
    mail_type: Annotated[str, Meta(description="What to send mail about, as in `sbatch --mail-type`.")] = "END,FAIL"
    extra: Annotated[Texts, Meta(description='More options for sbatch, one each: ["--nice=100", "--exclusive"].')] = ()
    max_attempts: Annotated[
        Count,
        Meta(
            description="Attempts at an archive, those of jobs that were requeued among them, before it is left to a "
            "person. Raise it where jobs are often preempted."
        ),
    ] = 3
    finish_partition: Annotated[
        str, Meta(description="Partition of the job that finishes a day, which needs no GPU; empty for the same.")
    ] = ""
    finish_cpus_per_task: Annotated[Count, Meta(description="CPU cores of the job that finishes a day.")] = 2
    finish_mem: Annotated[str, Meta(description="Memory of the job that finishes a day.")] = "4G"
    finish_time: Annotated[str, Meta(description="Time limit of the job that finishes a day.")] = "01:00:00"
    finish_extra: Annotated[Texts, Meta(description="More options for sbatch for the job that finishes a day.")] = ()


class Container(Struct, frozen=True, forbid_unknown_fields=True):
    """Running the jobs inside an Apptainer or Singularity image."""

    image: Annotated[Location, Meta(description="Image to run jobs in; empty for none.")] = ""
    runtime: Annotated[
        Literal["auto", "apptainer", "singularity"],
        Meta(description="Program that runs the image; auto takes the first that the node has."),
    ] = "auto"
    binds: Annotated[
        Texts,
        Meta(
            description='More folders to show inside the image, as in `--bind`: ["/models", "/data:/input:ro"]. '
            "The folders named in these settings are shown anyway."
        ),
    ] = ()
    environment: Annotated[
        Texts,
        Meta(
            description='More variables to show inside the image: ["MY_KEY", "MY_*"]. Those of Slurm, CUDA, PostgreSQL '
            "and audioctl are shown anyway."
        ),
    ] = ()


class Extract(Struct, frozen=True, forbid_unknown_fields=True):
    """Reading archives."""

    stream_batch_size: Annotated[
        Count, Meta(description="Members of a batch, the unit of progress and of resuming.")
    ] = 200
    max_member_size: Annotated[ByteSize, Meta(description="A larger clip is rejected as too_large.")] = 1024**3
    spool_above: Annotated[ByteSize, Meta(description="A larger clip waits on scratch, a smaller one in memory.")] = (
        16 * 1024**2
    )
    max_members: Annotated[
        Count, Meta(description="An archive with more members is damaged (too_large); so many of them are kept.")
    ] = 1_000_000
    max_archive_size: Annotated[
        ByteSize, Meta(description="An archive that decompresses to more is damaged (too_large); its head is kept.")
    ] = 256 * 1024**3
    max_compression_ratio: Annotated[
        Count,
        Meta(
            description="An archive that decompresses to more than 1 GiB and more than its own size times this is "
            "damaged (too_large); its head is kept."
        ),
    ] = 500


class Convert(Struct, frozen=True, forbid_unknown_fields=True):
    """Decoding clips and encoding their Opus copies."""

    num_workers: Annotated[
        Count, Meta(description="Processes that decode and encode; never more than the job has CPU cores.")
    ] = 10
    bitrate: Annotated[int, Meta(ge=6000, le=510000, description="Opus bit rate in bits per second.")] = 32000
    clip_timeout: Annotated[
        Seconds, Meta(description="Seconds after which the conversion of one clip is given up.")
    ] = 300
    max_clip_duration: Annotated[
        Seconds, Meta(description="A clip that lasts longer, in seconds, is rejected as too_large.")
    ] = 12 * 60 * 60


class Transcribe(Struct, frozen=True, forbid_unknown_fields=True):
    """The recogniser."""

    model: Annotated[
        NameOrFolder,
        Meta(
            description="A faster-whisper model: a name that `audioctl model fetch` brought here, or a folder. "
            '"bundled" is the small one for tests that knows 72 words.'
        ),
    ] = "large-v3-turbo"
    device: Annotated[
        Literal["auto", "cuda", "cpu"], Meta(description="Where the model runs; auto takes a GPU if there is one.")
    ] = "auto"
    compute_type: Annotated[
        Literal[
            "default",
            "auto",
            "int8",
            "int8_float32",
            "int8_float16",
            "int8_bfloat16",
            "int16",
            "float16",
            "bfloat16",
            "float32",
        ],
        Meta(description="Number format of the model, as CTranslate2 names it; default is the model's own."),
    ] = "default"
    process_batch_size: Annotated[Count, Meta(description="Clips handed to the recogniser together.")] = 100
    window_batch_size: Annotated[
        CountOrAuto,
        Meta(
            description="Windows of audio that go through the model at once; 0 goes by the free memory of the GPU. "
            "Where they turn out to be too many, they are halved."
        ),
    ] = 0
    profile: Annotated[
        Literal["careful", "fast"],
        Meta(
            description="How to search for the words: careful follows 5 beams, fast a single one. What either of them "
            "is unsure of is decoded again."
        ),
    ] = "careful"
    beam_size: Annotated[CountOrAuto, Meta(description="Beams of the search; 0 leaves them to the profile.")] = 0
    language: Annotated[
        str, Meta(pattern="^([a-z]{2,3})?$", description='Language of all clips, such as "en"; empty to detect it.')
    ] = ""
    languages: Annotated[
        Texts, Meta(description='Languages that detection may choose from, such as ["en", "de"]; empty for all.')
    ] = ()
    vad: Annotated[bool, Meta(description="Skip stretches without speech.")] = True
    window: Annotated[
        str,
        Meta(
            pattern="^(auto|full|longest|[12][0-9]|30)$",
            description="Length of the windows: full is always 30 s. A number of seconds from 10 to 30 is the least; "
            "a batch has windows as long as its longest clip, where that is more. longest is the least that the model "
            "was trained on, or else 10. auto is longest for a model trained on short windows, and full for others.",
        ),
    ] = "auto"


class Upload(Struct, frozen=True, forbid_unknown_fields=True):
    """Sending the Opus copies to the storage server."""

    destination: Annotated[
        Location,
        Meta(description="A local folder, `user@host:/path` (an absolute path) or `rsync://host/module/path`."),
    ] = "./audioctl-storage"
    max_concurrent_uploads: Annotated[Count, Meta(description="rsync processes of a job at the same time.")] = 8
    upload_timeout: Annotated[
        Seconds, Meta(description="Seconds that one rsync call may take before it is ended and tried again.")
    ] = 120
    attempts: Annotated[Count, Meta(description="Attempts at an upload before it is left owed to a resume.")] = 5
    files_per_call: Annotated[Count, Meta(description="Files that one rsync carries at most.")] = 200
    ssh_key: Annotated[Location, Meta(description="Private key file; empty leaves the choice to ssh.")] = ""
    ssh_options: Annotated[
        Texts, Meta(description='Options for ssh, as after `ssh -o`: ["Port=2222", "ProxyJump=gate"].')
    ] = ()
    accept_new_host_keys: Annotated[
        bool,
        Meta(
            description="Accept the key that a server shows when it is seen for the first time. A key that has changed "
            "is never accepted."
        ),
    ] = False


class Database(Struct, frozen=True, forbid_unknown_fields=True):
    """PostgreSQL. The connection comes from libpq (PG* variables, service file, ~/.pgpass) or from `DB_CREDS`."""

    enabled: Annotated[bool, Meta(description="Record transcripts in PostgreSQL.")] = False
    service: Annotated[str, Meta(description="Section of the libpq service file to use.")] = ""
    give_up_after: Annotated[
        Seconds, Meta(description="Seconds to keep trying to write a batch before its rows are left owed.")
    ] = 60


class Logging(Struct, frozen=True, forbid_unknown_fields=True):
    """The logs of jobs."""

    format: Annotated[
        Literal["text", "json"],
        Meta(description="Lines of a job's log: text for people, json for programs that collect logs."),
    ] = "text"


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set; ``Settings()`` is what holds with no file at all."""

    paths: Paths = Paths()
    submit: Submit = Submit()
    local: Local = Local()
    slurm: Slurm = Slurm()
    container: Container = Container()
    extract: Extract = Extract()
    convert: Convert = Convert()
    transcribe: Transcribe = Transcribe()
    upload: Upload = Upload()
    database: Database = Database()
    logging: Logging = Logging()


_FLAGS = {"logging.format": "--log-format"}
"""Flags of keys whose names say too little without their section."""


@dataclass(frozen=True)
class Key:
    """One key of one section, as declared above."""

    section: str
    name: str
    type: Any
    default: object
    description: str
    kind: str | None
    """``size``, ``location``, ``name_or_folder``, or None where the type says it all."""

    @property
    def dotted(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"AUDIOCTL_{self.section}__{self.name}".upper()

    @property
    def flag(self) -> str:
        """How the commands spell its flag, where they have one."""
        return _FLAGS.get(self.dotted) or "--" + self.name.replace("_", "-")

    @property
    def plain_type(self) -> msgspec.inspect.Type:
        """The declared type without its description."""
        declared = msgspec.inspect.type_info(self.type)
        return declared.type if isinstance(declared, msgspec.inspect.Metadata) else declared

    def value_in(self, settings: Settings) -> object:
        return getattr(getattr(settings, self.section), self.name)


def section_types() -> dict[str, type[Struct]]:
    """The struct of each section, in the order of ``Settings``."""
    return {field.name: cast(type[Struct], field.type) for field in msgspec.structs.fields(Settings)}


def _keys() -> dict[str, Key]:
    keys = {}
    for section, struct in section_types().items():
        for field in msgspec.structs.fields(struct):
            declared = cast(msgspec.inspect.Metadata, msgspec.inspect.type_info(field.type))
            key = Key(
                section=section,
                name=field.name,
                type=field.type,
                default=field.default,
                description=(declared.extra_json_schema or {})["description"],
                kind=(declared.extra or {}).get("kind"),
            )
            keys[key.dotted] = key
    return keys


KEYS = _keys()
"""Every key by its dotted name (``upload.destination``), in order."""

_SIZE_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_SIZE_TEXT = re.compile(r"(\d+)\s*([KMGT]?)", re.IGNORECASE | re.ASCII)


def parse_size(text: str) -> int:
    """``"1G"``, ``"512M"``, ``"64k"`` or plain bytes, in powers of 1024 as Slurm has it; raises ValueError."""
    match = _SIZE_TEXT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size")
    return int(match[1]) * _SIZE_UNITS[match[2].upper()]


def format_size(size_bytes: int) -> str:
    """The shortest text that ``parse_size`` reads as exactly this."""
    for unit in ("T", "G", "M", "K"):
        if size_bytes and size_bytes % _SIZE_UNITS[unit] == 0:
            return f"{size_bytes // _SIZE_UNITS[unit]}{unit}"
    return str(size_bytes)
