"""A job's spec: the document that a user submits. Decoding it checks its shape; `check` checks its sense.

The field names are those of Compose where Compose has one. A spec is never edited by the system: what it means for
placement is derived (`need`, `shape`), and defaults are filled in once, when it is read.
"""

import builtins
import posixpath
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from swarmsync.errors import FieldError
from swarmsync.model.constraints import IMAGE_LOCAL, parse
from swarmsync.model.fields import Duration, Environment, Size, Words
from swarmsync.model.files import Output, SecretUse, output_problems, secret_problems
from swarmsync.model.resources import Need, format_duration, parse_duration_ms

ARRAY_MAX: Final = 100_000
NAME_MAX: Final = 128
AFTER_MAX: Final = 1_000
EXIT_CODE_MAX: Final = 255
PLACEMENT_RULES_MAX: Final = 64
#: Of anything that is counted. Checked at the door and not by the types: what was stored before must stay readable.
COUNT_MAX: Final = 1_000_000_000
LOG_MAX_DEFAULT: Final = Size(50 << 20)
LOG_KEEP_MIN_MS: Final = 3_600_000

Text = Annotated[str, Meta(max_length=4096)]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]


class Resources(Struct, frozen=True, forbid_unknown_fields=True):
    """Requested and enforced: one number is both the reservation and the limit."""

    cpus: Annotated[float, Meta(gt=0, le=4096)] = 1.0
    memory: Size = Size(512 << 20)
    pids: Annotated[int, Meta(ge=1, le=4_194_304)] = 1024
    gpus: Annotated[int, Meta(ge=0, le=1024)] = 0
    disk: Size | None = None


class VolumeSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """A named volume, a tmpfs, or (where an admin allows it) a path of the worker's machine."""

    target: Text
    type: Literal["volume", "tmpfs", "bind"] = "volume"
    source: Text = ""
    read_only: bool = False
    size: Size | None = None


class Stop(Struct, frozen=True, forbid_unknown_fields=True):
    signal: Annotated[str, Meta(pattern=r"^(SIG)?[A-Z0-9+]{2,12}$")] = "SIGTERM"
    grace: Duration = Duration(10_000)


class Retry(Struct, frozen=True, forbid_unknown_fields=True):
    """How failures that are the job's own are tried again; infrastructure losses have their own budget."""

    attempts: Annotated[int, Meta(ge=1, le=100)] = 1
    backoff: Literal["none", "fixed", "exponential"] = "exponential"
    delay: Duration = Duration(10_000)
    max_delay: Duration = Duration(600_000)
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.2
    on: tuple[Literal["error", "oom", "timeout"], ...] = ("error", "oom")
    not_on_exit: tuple[int | str, ...] = ()
    memory_factor: Annotated[float, Meta(ge=1, le=16)] = 1.0
    memory_max: Size | None = None


class Array(Struct, frozen=True, forbid_unknown_fields=True):
    """`range` is written `0-999`, or as a list of indexes and ranges: `3,7,10-12`."""

    range: Annotated[str, Meta(pattern=r"^\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*$", max_length=1_000_000)]
    max_parallel: Annotated[int, Meta(ge=1)] | None = None
    max_failures: Annotated[int, Meta(ge=0)] | None = None

    def indexes(self) -> Sequence[int]:
        parts = [self._part(text) for text in self.range.split(",")]
        return parts[0] if len(parts) == 1 else [index for part in parts for index in part]

    @staticmethod
    def _part(text: str) -> builtins.range:
        first, _, last = text.partition("-")
        return builtins.range(int(first), int(last or first) + 1)

    def size(self) -> int:
        """Count the members without making them."""
        return sum(len(self._part(text)) for text in self.range.split(","))


def range_text(indexes: Sequence[int]) -> str:
    """Write sorted indexes as a range: `3,7,10-12`."""
    parts: list[list[int]] = []
    for index in indexes:
        if parts and parts[-1][1] == index - 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


class Logs(Struct, frozen=True, forbid_unknown_fields=True):
    max: Size = LOG_MAX_DEFAULT
    on_limit: Literal["truncate", "fail"] = "truncate"
    keep: Duration | None = None


class Concurrency(Struct, frozen=True, forbid_unknown_fields=True):
    key: Name
    limit: Annotated[int, Meta(ge=1)]
    on_limit: Literal["queue", "reject", "cancel_oldest"] = "queue"


class Rate(Struct, frozen=True, forbid_unknown_fields=True):
    """At most so many starts per interval, over all jobs that name the key. Written `10/1m`."""

    key: Name
    limit: Annotated[str, Meta(pattern=r"^[1-9]\d{0,5}/\d{1,9}(\.\d{1,3})?(ms|s|m|h|d)$")]

    @property
    def starts(self) -> int:
        return int(self.limit.partition("/")[0])

    @property
    def interval_ms(self) -> int:
        return parse_duration_ms(self.limit.partition("/")[2])


class After(Struct, frozen=True, forbid_unknown_fields=True):
    job: Name
    when: Literal["succeeded", "finished", "failed"] = "succeeded"


class Affinity(Struct, frozen=True, forbid_unknown_fields=True):
    match: Text
    weight: Annotated[int, Meta(ge=-100, le=100)] = 50


class Security(Struct, frozen=True, forbid_unknown_fields=True):
    """`strict` drops all capabilities, makes the root read-only and runs as nobody. The rest needs a policy."""

    profile: Literal["standard", "strict"] = "standard"
    read_only: bool = False
    capabilities: tuple[Annotated[str, Meta(pattern=r"^(CAP_)?[A-Z_]{3,32}$")], ...] = ()
    devices: tuple[Annotated[str, Meta(pattern=r"^/dev/[a-zA-Z0-9._/-]{1,128}$")], ...] = ()
    privileged: bool = False


class JobSpec(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    image: Annotated[str, Meta(min_length=1, max_length=512)]
    name: Annotated[str, Meta(max_length=NAME_MAX)] = ""
    entrypoint: Words | None = None
    command: Words | None = None
    environment: Environment = field(default_factory=Environment)
    secrets: tuple[str | SecretUse, ...] = ()
    working_dir: Text | None = None
    user: Annotated[str, Meta(max_length=128)] | None = None
    init: bool = True
    volumes: tuple[str | VolumeSpec, ...] = ()
    network: Annotated[str, Meta(min_length=1, max_length=128)] = "bridge"
    security: Security = Security()
    resources: Resources = Resources()
    queue: Name = "default"
    priority: Annotated[int, Meta(ge=0, le=100)] = 50
    labels: dict[str, str] = field(default_factory=dict)
    constraints: tuple[Text, ...] = ()
    affinity: tuple[Affinity, ...] = ()
    timeout: Duration | None = None
    queue_timeout: Duration | None = None
    deadline: datetime | None = None
    stop: Stop = Stop()
    retry: Retry = Retry()
    concurrency: Concurrency | None = None
    rate: Rate | None = None
    after: tuple[After, ...] = ()
    array: Array | None = None
    run_at: datetime | None = None
    delay: Duration | None = None
    outputs: tuple[Output, ...] = ()
    logs: Logs = Logs()


RATE_INTERVAL_MAX_MS: Final = 86_400_000
#: A reference as Docker reads it: [registry[:port]/]path[:tag][@digest]; only the registry may have capitals.
_IMAGE: Final = re.compile(
    r"([a-zA-Z0-9][a-zA-Z0-9.-]*(:\d{1,5})?/|\[[0-9a-fA-F:]+\](:\d{1,5})?/)?"
    r"[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*)*"
    r"(:\w[\w.-]{0,127})?(@[A-Za-z][A-Za-z0-9]*([+._-][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]+)?",
    re.ASCII,
)
#: Docker wants two characters at least in a volume's name.
_VOLUME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_NETWORK: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_USER: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.$-]*(:[a-zA-Z0-9_][a-zA-Z0-9_.$-]*)?")
#: Names of signals as Linux has them, without SIG; a number is one, too.
_SIGNAL: Final = re.compile(
    "HUP|INT|QUIT|ILL|TRAP|ABRT|BUS|FPE|KILL|USR1|SEGV|USR2|PIPE|ALRM|TERM|STKFLT|CHLD|CONT|STOP|TSTP|TTIN|TTOU|URG"
    r"|XCPU|XFSZ|VTALRM|PROF|WINCH|IO|PWR|SYS|RTMIN(\+[1-9]|\+1[0-5])?|RTMAX|[1-9]|[1-5]\d|6[0-4]"
)
_EXIT_RANGE: Final = re.compile(r"\d{1,3}(-\d{1,3})?")
#: Beyond these a time has no UTC form everywhere, or none that PostgreSQL and Python agree on.
_RUN_YEARS: Final = range(1970, 3000)


#: Labels are asked for as `key=value`, so a key cannot have the sign.
LABEL_FORM: Final = "a key has 1-128 characters without '=', a value 256 at most"


def label_fits(key: str, value: str) -> bool:
    return 0 < len(key) <= 128 and "=" not in key and len(value) <= 256


def check(spec: JobSpec, root: str = "$") -> list[FieldError]:
    """Return what is wrong with a decoded spec, each with its path and the remedy; empty when it can run."""
    return [FieldError(root + path, message) for path, message in _problems(spec)]


def _problems(spec: JobSpec) -> Iterator[tuple[str, str]]:
    if not _IMAGE.fullmatch(spec.image):
        yield ".image", f"{spec.image[:80]!r} is not an image name; write it like alpine:3.20"
    if spec.run_at is not None and spec.delay is not None:
        yield ".delay", "give run_at or delay, not both"
    if spec.run_at is not None and spec.run_at.tzinfo is None:
        yield ".run_at", "has no offset; write it like 2026-11-24T02:00:00+01:00"
    if spec.run_at is not None and spec.run_at.year not in _RUN_YEARS:
        yield ".run_at", f"lies outside the years {_RUN_YEARS[0]} to {_RUN_YEARS[-1]}"
    if len(spec.labels) > 64:
        yield ".labels", "more than 64 labels"
    for key, value in spec.labels.items():
        if not label_fits(key, value):
            yield ".labels", f"label {key[:40]!r}: {LABEL_FORM}"
    if len(spec.environment) > 1024:
        yield ".environment", "more than 1024 variables"
    if spec.resources.cpus < 0.001:
        yield ".resources.cpus", "the smallest share is 0.001"
    if spec.resources.memory < 6 << 20:
        yield ".resources.memory", "Docker's smallest limit is 6MiB"
    if spec.rate is not None and not 0 < spec.rate.interval_ms <= RATE_INTERVAL_MAX_MS:
        yield ".rate.limit", "the interval lies between 1 ms and 1 day; write it like 10/1m"
    if spec.concurrency is not None and spec.concurrency.limit > COUNT_MAX:
        yield ".concurrency.limit", f"{COUNT_MAX} at most"
    if spec.deadline is not None and spec.deadline.tzinfo is None:
        yield ".deadline", "has no offset; write it like 2026-11-24T02:00:00+01:00"
    if spec.deadline is not None and spec.deadline.year not in _RUN_YEARS:
        yield ".deadline", f"lies outside the years {_RUN_YEARS[0]} to {_RUN_YEARS[-1]}"
    if len(spec.after) > AFTER_MAX:
        yield ".after", f"{len(spec.after)} jobs to wait for; {AFTER_MAX} at most"
    yield from _after_problems(spec.after)
    if spec.retry.memory_factor > 1 and "oom" not in spec.retry.on:
        yield ".retry.memory_factor", "grows memory after an OOM kill: retry.on must contain oom"
    if spec.retry.memory_max is not None and spec.retry.memory_max < spec.resources.memory:
        yield ".retry.memory_max", "is less than resources.memory"
    if spec.retry.attempts > 1 and spec.retry.delay > spec.retry.max_delay and spec.retry.backoff != "none":
        yield ".retry.max_delay", f"is less than retry.delay; make it {format_duration(spec.retry.delay)} or more"
    if spec.working_dir is not None and not spec.working_dir.startswith("/"):
        yield ".working_dir", f"{spec.working_dir[:80]!r} is not an absolute path"
    if spec.user is not None and not _USER.fullmatch(spec.user):
        yield ".user", f"{spec.user[:80]!r} is not a user; write a name or uid, and :group where it is wanted"
    if not _SIGNAL.fullmatch(spec.stop.signal.removeprefix("SIG")):
        yield ".stop.signal", f"{spec.stop.signal!r} is not a signal; write it like SIGTERM or SIGINT"
    if spec.timeout is not None and spec.timeout < 1:
        yield ".timeout", "must be more than 0"
    if spec.stop.grace > 3_600_000:
        yield ".stop.grace", "one hour at most"
    if spec.array is not None:
        yield from _array_problems(spec.array)
    yield from _placement_problems(spec)
    yield from secret_problems(spec.secrets, spec.environment)
    yield from output_problems(spec.outputs)
    if spec.logs.keep is not None and spec.logs.keep < LOG_KEEP_MIN_MS:
        yield ".logs.keep", "one hour at least"
    for entry in spec.retry.not_on_exit:
        first, _, last = str(entry).partition("-")
        if not _EXIT_RANGE.fullmatch(str(entry)) or not int(first) <= int(last or first) <= EXIT_CODE_MAX:
            yield ".retry.not_on_exit", f"{str(entry)[:20]!r} is no exit code; write 2 or 64-78"
    if spec.security.profile == "strict":
        yield from _strict_problems(spec)
    if not _NETWORK.fullmatch(spec.network):
        yield ".network", f"{spec.network[:80]!r} is not a network; write none, bridge or the name of one"
    yield from _volumes_problems(spec)


def _volumes_problems(spec: JobSpec) -> Iterator[tuple[str, str]]:
    taken: set[str] = set()
    for index, volume in enumerate(spec.volumes):
        problem = _volume_problem(volume)
        if problem is None:
            target = posixpath.normpath(read_volume(volume).target)
            if target == "/":
                problem = "nothing can be mounted over '/'; name a directory in the container"
            elif target in taken:
                problem = f"the target {target[:80]!r} is taken by a volume before this one"
            taken.add(target)
        if problem:
            yield f".volumes[{index}]", problem


def _after_problems(after: Sequence[After]) -> Iterator[tuple[str, str]]:
    wanted: dict[str, str] = {}
    for index, entry in enumerate(after):
        if wanted.setdefault(entry.job, entry.when) != entry.when:
            yield f".after[{index}].when", f"job {entry.job[:40]} is to have {wanted[entry.job]} already"


def _strict_problems(spec: JobSpec) -> Iterator[tuple[str, str]]:
    if spec.user is not None and spec.user.split(":")[0] in ("0", "root"):
        yield ".user", "the strict profile does not run as root"
    for name in ("capabilities", "devices", "privileged"):
        if getattr(spec.security, name):
            yield f".security.{name}", "does not go with the strict profile"


def _placement_problems(spec: JobSpec) -> Iterator[tuple[str, str]]:
    for name, entries in (("constraints", spec.constraints), ("affinity", spec.affinity)):
        if len(entries) > PLACEMENT_RULES_MAX:
            yield f".{name}", f"{len(entries)} expressions; {PLACEMENT_RULES_MAX} at most"
    places = [(f".constraints[{index}]", text) for index, text in enumerate(spec.constraints)]
    places += [(f".affinity[{index}].match", entry.match) for index, entry in enumerate(spec.affinity)]
    for place, text in places:
        try:
            demand = parse(text)
        except ValueError as error:
            yield place, str(error)
        else:
            if demand.attribute == IMAGE_LOCAL and place.startswith(".constraints"):
                yield place, "image.local is a wish, not a demand: images are pulled where they are missing"


def _array_problems(array: Array) -> Iterator[tuple[str, str]]:
    size = array.size()
    if size == 0:
        yield ".array.range", f"{array.range[:40]} is empty; write it like 0-999"
    elif size > ARRAY_MAX:
        yield ".array.range", f"{size} members; {ARRAY_MAX} at most"
    elif len(set(array.indexes())) < size:
        yield ".array.range", f"{array.range[:40]} names an index twice"
    for name in ("max_parallel", "max_failures"):
        if (getattr(array, name) or 0) > COUNT_MAX:
            yield f".array.{name}", f"{COUNT_MAX} at most"


def _volume_problem(volume: str | VolumeSpec) -> str | None:
    try:
        mount = read_volume(volume)
    except ValueError as error:
        return str(error)
    if not mount.target.startswith("/") or ".." in mount.target.split("/"):
        return f"the target {mount.target[:80]!r} must be an absolute path"
    if mount.type == "bind" and (not mount.source.startswith("/") or ".." in mount.source.split("/")):
        return f"the path {mount.source[:80]!r} must be absolute, without '..'"
    if mount.type != "tmpfs" and mount.size is not None:
        return "size goes with a tmpfs only; a volume grows with what is written"
    if mount.type == "tmpfs" and mount.source:
        return "a tmpfs has no source: it begins empty"
    if mount.type == "volume" and not _VOLUME.fullmatch(mount.source):
        return f"{mount.source[:80]!r} is not a volume name; it has two letters, digits, '_', '.' or '-' at least"
    return None


def read_volume(volume: str | VolumeSpec) -> VolumeSpec:
    """Read `name:/target[:ro]` as Docker does. Raises ValueError with a remedy."""
    if isinstance(volume, VolumeSpec):
        return volume
    source, _, rest = volume.partition(":")
    target, _, mode = rest.partition(":")
    if not target or mode not in ("", "ro", "rw"):
        raise ValueError(f"{volume[:80]!r} is not a volume; write it like name:/target or name:/target:ro")
    kind: Literal["volume", "bind"] = "bind" if source.startswith(("/", ".", "~")) else "volume"
    return VolumeSpec(target=target, type=kind, source=source, read_only=mode == "ro")


def need(spec: JobSpec) -> Need:
    """What one assignment of this spec takes from a worker."""
    wanted = spec.resources
    return Need(round(wanted.cpus * 1000), int(wanted.memory), wanted.gpus, int(wanted.disk or 0))


def shape_of(wanted: Need, constraints: tuple[str, ...] = ()) -> int:
    """Return the 63-bit name of what placement looks at: jobs of one shape fit the same workers."""
    text = repr((wanted.cpus_milli, wanted.memory_bytes, wanted.gpus, wanted.disk_bytes, sorted(constraints)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 1
