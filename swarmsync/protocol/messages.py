"""Every word that crosses a process boundary, grouped by sender. A new word starts here.

Rings carry msgpack batches of the unions at the end of each group; NATS messages are one Struct each. All are tagged,
so a decoder that knows the union refuses everything else. `tests/golden` holds one frame of each.
"""

from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, field

from swarmsync.model.bounds import (
    NO_NUL,
    Amount,
    ExitStatus,
    Id,
    Sentence,
    TimeMs,
    UncheckedSentence,
    UncheckedWord,
    Word,
)
from swarmsync.model.job import JobRef, Waiting
from swarmsync.model.lifecycle import AssignmentState, Eligibility, EndReason, Liveness, WaitReason
from swarmsync.model.limits import QueueLimits, UserLimits
from swarmsync.model.registries import RegistryLogin
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerOffer, WorkerView

#: Names of a machine's images.
Images: TypeAlias = Annotated[tuple[Word, ...], Meta(max_length=256)]


class _Word(Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Arrays on the wire: half the bytes and a third less time than maps (measured, decision 0003)."""


# ------------------------------------------------ Harvester (and Hibernator) -> Scheduler: `inbox`, `due`


class JobsSubmitted(_Word, frozen=True):
    """These jobs are `queued` in PostgreSQL. Repeats are harmless."""

    jobs: tuple[Waiting, ...]


class JobsDue(_Word, frozen=True):
    """Hibernator -> Scheduler: their time has come; otherwise as JobsSubmitted."""

    jobs: tuple[Waiting, ...]


class StopWanted(_Word, frozen=True):
    """These jobs must not start any more; those that were placed are to be stopped."""

    job_ids: tuple[int, ...]


class WorkerJoined(_Word, frozen=True):
    """A worker's session began. `holds` is what it runs now; it replaces all that was believed before."""

    worker: WorkerView
    holds: tuple[tuple[int, Need], ...] = ()


class WorkerChanged(_Word, frozen=True):
    worker_id: int
    liveness: Liveness
    eligibility: Eligibility


class WorkerLost(_Word, frozen=True):
    """Take no more account of this worker. Its assignments end one by one, at their leases' ends."""

    worker_id: int


class AssignmentEnded(_Word, frozen=True):
    """The room of this job on this worker is free again. `ran_ms`: how long its container ran, where that is known."""

    job_id: int
    worker_id: int
    ran_ms: int | None = None


class PlacementVoid(_Word, frozen=True):
    """A Place came to nothing because the job was no longer queued: free the room and forget the job."""

    job_id: int
    worker_id: int


class LimitsChanged(_Word, frozen=True):
    """All limits of queues and users that there are; they replace what was told before."""

    queues: tuple[QueueLimits, ...]
    users: tuple[UserLimits, ...]


class Ask(_Word, frozen=True):
    """A question: why does this job wait, or where would it start (`plan`: it need not exist)? Answer: Answer."""

    reply: str
    kind: Literal["why", "plan"]
    job: Waiting


class Resync(_Word, frozen=True):
    """Hints were dropped: read PostgreSQL again."""


ToScheduler: TypeAlias = (
    JobsSubmitted
    | JobsDue
    | StopWanted
    | WorkerJoined
    | WorkerChanged
    | WorkerLost
    | AssignmentEnded
    | PlacementVoid
    | LimitsChanged
    | Ask
    | Resync
)

# ------------------------------------------------ Scheduler -> Dispatcher: `placements`


class Place(_Word, frozen=True):
    """`limited`: a key, an array or a rate limits the job (`Rules.limited`), and PostgreSQL counts once more."""

    job_id: int
    worker_id: int
    limited: bool = False


class Revoke(_Word, frozen=True):
    """The job is `stopping` in PostgreSQL: tell its worker."""

    job_id: int


class LineWaits(_Word, frozen=True):
    """Why jobs of this line wait (None: they do not); becomes the row that `why` and lists read."""

    line: int
    reason: WaitReason | None
    message: str
    jobs: int = 0


class Answer(_Word, frozen=True):
    """To the Ask that named the same `reply`; `text` is a JSON document."""

    reply: str
    text: bytes


class PlanVoid(_Word, frozen=True):
    """The Scheduler begins anew: placements before this word that are not being committed yet do not count."""


ToDispatcher: TypeAlias = Place | Revoke | LineWaits | Answer | PlanVoid

# ------------------------------------------------ Dispatcher -> Harvester: `bounces`


class Offered(_Word, frozen=True):
    """Said before the order goes out: this assignment exists, and this order message carries it."""

    ref: JobRef
    worker_id: int
    need: Need
    grace_ms: int
    epoch: int
    orders_seq: int


class Refused(_Word, frozen=True):
    """The worker said no to the order that this message carried; it will never begin."""

    ref: JobRef
    worker_id: int
    epoch: int
    orders_seq: int
    message: str


ToHarvester: TypeAlias = Offered | Refused | PlacementVoid

# ------------------------------------------------ each module -> Logger: `journal.<module>`


class JournalLine(_Word, frozen=True):
    at_ms: int
    source: str
    level: str
    message: str
    job_id: int | None = None
    fields: dict[str, str] = field(default_factory=dict)


# ------------------------------------------------ API -> engine (NATS hints; losing one costs a pulse)


class By(StrEnum):
    """Who changed jobs: what the Dispatcher and the Harvester change is no news, and the Harvester tells of both."""

    API = "api"
    SUBMISSION = "submission"  # the API as well, and the jobs are new
    HARVESTER = "harvester"


class Changed(_Word, frozen=True):
    """Somebody committed changes to these jobs (none named at all: look for yourself); `begun` only began.

    `fresh` describes all of them where they are new, as the transaction `xid` made them, and nothing else.
    """

    job_ids: tuple[int, ...] = ()
    by: By = By.API
    begun: tuple[int, ...] = ()
    fresh: tuple[Waiting, ...] = ()
    xid: int = 0


class WorkersChanged(_Word, frozen=True):
    """A person cordoned, uncordoned, drained or removed a worker."""

    worker_id: int


# ------------------------------------------------ Dispatcher -> worker (NATS request; reply: Receipt)


class SecretValue(_Word, frozen=True):
    """A secret on its way into a container, and nowhere else: no `repr` shows it."""

    name: str
    value: bytes
    env: str | None = None  # None: the file /run/secrets/NAME

    def __repr__(self) -> str:
        return f"SecretValue(name={self.name!r}, value=***, env={self.env!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("name", self.name), ("value", "***"), ("env", self.env)]


class RunJob(_Word, frozen=True):
    """Start this assignment. `spec_id` names an entry of the same message's `specs`.

    `missing` says what the job needs and is not there any more: the worker ends it with InputMissing.
    """

    ref: JobRef
    spec_id: int
    name: str
    memory_bytes: int  # may have grown after an OOM kill; otherwise the spec's own
    array_index: int | None = None
    array_size: int | None = None
    secrets: tuple[SecretValue, ...] = ()
    missing: str = ""
    image: str = ""  # what the first attempt's tag meant: NAME@DIGEST; empty: the spec's own; checked when it was told
    user_id: int = 0  # whose job it is: what is kept between containers is not kept between users


class StopJob(_Word, frozen=True):
    """End this assignment: the spec's stop signal and grace, or at once when `kill`."""

    ref: JobRef
    kill: bool = False
    reason: EndReason = EndReason.CANCELLED_BY_USER


Order: TypeAlias = RunJob | StopJob


class Orders(_Word, frozen=True):
    """One batch for one worker. `seq` counts per (epoch, worker).

    A worker takes a message only if its (epoch, seq) is higher than any before, and says the highest in its pulses:
    from then on what an older message ordered can never begin, so it may safely be ordered again elsewhere.
    """

    epoch: int
    seq: int
    orders: tuple[Order, ...]
    specs: dict[int, bytes] = field(default_factory=dict)  # JSON documents
    logins: dict[Word, RegistryLogin] = field(default_factory=dict)  # by registry: of these orders' images only


class Receipt(_Word, frozen=True):
    """Worker -> Dispatcher: what it did with the orders; refused ones with a sentence each."""

    epoch: Id
    seq: Id
    refused: tuple[tuple[JobRef, Sentence], ...] = ()
    stale: bool = False  # the message was old; nothing in it was obeyed
    also: tuple[Id, ...] = ()  # earlier messages of the same epoch of which every order was taken


# ------------------------------------------------ a machine without a key -> Harvester (NATS request)


class Enroll(_Word, frozen=True):
    """Make me a worker. `signature` is over `enrolment.statement`, by the key. Reply: Enrolled or Refusal."""

    token: str
    name: str
    public_key: str  # a NATS user key: U...
    signature: bytes


class Enrolled(_Word, frozen=True):
    """The key is in force: connect with it."""

    name: str


# ------------------------------------------------ worker -> Harvester (NATS requests)


class Holding(_Word, frozen=True):
    """An assignment that a worker has, from acceptance until Core has acknowledged its verdict."""

    ref: JobRef
    state: AssignmentState
    need: Need


class Join(_Word, frozen=True):
    """A worker's process started. Reply: Welcome or Refusal.

    `began_ms` is when, by the clock of the machine's start that `boot` names: of two sessions the younger one counts.
    """

    session: Word
    offer: WorkerOffer
    holds: tuple[Holding, ...]
    token: Word = ""
    boot: Word = ""
    began_ms: Id = 0
    images: Images = ()


class Pulse(_Word, frozen=True):
    """Every second. `holds` is None while it equals what the last answered pulse said. Reply: PulseAnswer, Refusal."""

    session: Word
    seq: Id
    orders_epoch: Id
    orders_seq: Id
    holds: tuple[Holding, ...] | None = None
    leaving: bool = False  # a clean stop: expect no more pulses
    probed: Sentence | None = None  # what the probe that Core asked for came to: "" passed, else why not
    images: Images | None = None  # None: as said before


class Spent(_Word, frozen=True):
    """Where an assignment's time went on its worker: durations in milliseconds of the worker's monotonic clock."""

    pull_ms: Amount = 0
    create_ms: Amount = 0
    start_ms: Amount = 0
    stop_ms: Amount = 0  # from the first wish to stop it to the container's end
    collect_ms: Amount = 0  # from the container's end to this report


class Started(_Word, frozen=True):
    ref: JobRef
    at_ms: TimeMs
    image: Word = ""  # the digest that the tag was resolved to
    spent: Spent = Spent()


class Progress(_Word, frozen=True):
    """The assignment moved right without starting or ending: pulling, creating, stopping, collecting."""

    ref: JobRef
    state: AssignmentState


class StreamSum(_Word, frozen=True):
    """One output stream: what there was, what of it was kept, and the SHA-256 of either where they differ."""

    size: Amount = 0
    kept: Amount = 0
    sha256: UncheckedWord = ""
    kept_sha256: UncheckedWord = ""  # only of a stream that was cut

    @property
    def truncated(self) -> bool:
        return self.kept < self.size


class OutputSum(_Word, frozen=True):
    """One output, collected: the length and SHA-256 of its tar, and how many files with how many bytes are in it."""

    name: Annotated[str, Meta(max_length=128, pattern=NO_NUL)]
    size: Amount = 0
    sha256: Annotated[str, Meta(max_length=64, pattern=NO_NUL)] = ""
    files: Amount = 0
    bytes: Amount = 0


class Ended(_Word, frozen=True):
    """The assignment is over and its logs are in PostgreSQL. Once acknowledged, the worker removes the container."""

    ref: JobRef
    reason: EndReason
    message: UncheckedSentence
    at_ms: TimeMs
    exit_code: ExitStatus | None = None
    started_ms: TimeMs | None = None
    stdout: StreamSum = StreamSum()
    stderr: StreamSum = StreamSum()
    cpu_ms: Amount | None = None
    memory_peak_bytes: Amount | None = None
    spent: Spent = Spent()
    outputs: tuple[OutputSum, ...] = ()

    def unchecked(self) -> tuple[str, ...]:
        """Return all texts in which nobody has looked for NULs."""
        out, err = self.stdout, self.stderr
        return self.message, out.sha256, out.kept_sha256, err.sha256, err.kept_sha256


Report: TypeAlias = Started | Progress | Ended


class Reports(_Word, frozen=True):
    """Numbered from `first_seq` on within the session. Reply after the commit: ReportsAck."""

    session: Word
    first_seq: Amount
    reports: tuple[Report, ...]


# ------------------------------------------------ worker -> Logger (NATS request)


#: 1 stdout, 2 stderr, and from 3 on the tars of the spec's outputs in their order.
StreamNumber: TypeAlias = Annotated[int, Meta(ge=1, le=18)]


class LogChunk(_Word, frozen=True):
    """Bytes of one stream of one assignment. `offset` counts the stream's bytes from 0."""

    ref: JobRef
    stream: StreamNumber
    offset: Amount
    at_ms: TimeMs
    data: bytes


class LogChunks(_Word, frozen=True):
    """Reply after the commit: LogsAck."""

    session: Word
    chunks: tuple[LogChunk, ...]


# ------------------------------------------------ replies of Core to workers


class Welcome(_Word, frozen=True):
    """`stop` names held assignments that are not wanted (any more)."""

    worker_id: int
    pulse_ms: int
    lease_ms: int
    orders_epoch: int  # order messages up to here are void for this session
    orders_seq: int
    stop: tuple[StopJob, ...] = ()


class Refusal(_Word, frozen=True):
    """The worker may not join, or must join anew (`rejoin`)."""

    message: str
    rejoin: bool = False


class PulseAnswer(_Word, frozen=True):
    """Renews the lease of all that the worker holds, counted from when it sent the pulse."""

    send_holds: bool = False
    stop: tuple[StopJob, ...] = ()
    probe: str = ""  # try a container of this image, and say in a pulse how that went


class ReportsAck(_Word, frozen=True):
    """Cumulative: every report up to `through_seq` is committed or superseded."""

    through_seq: int
    stop: tuple[StopJob, ...] = ()


class LogsAck(_Word, frozen=True):
    """Per (assignment, stream): the offset up to which PostgreSQL has everything."""

    ends: tuple[tuple[JobRef, int, int], ...]


class AskLogEnds(_Word, frozen=True):
    """Worker -> Logger after a restart: up to where are these streams stored? Reply: LogsAck."""

    session: Word
    refs: tuple[JobRef, ...]


class CheckOutput(_Word, frozen=True):
    """Worker -> Logger: this output is stored as far as I know; is it the same? Reply: OutputChecked."""

    session: Word
    ref: JobRef
    stream: Annotated[int, Meta(ge=3, le=18)]
    total: OutputSum


class OutputChecked(_Word, frozen=True):
    """What is not the `same` was thrown away, and is to be sent again from its start."""

    same: bool
    message: str = ""


FromWorker: TypeAlias = Join | Pulse | Reports | LogChunks | AskLogEnds | CheckOutput
ToWorker: TypeAlias = Welcome | Refusal | PulseAnswer | ReportsAck | LogsAck | Enrolled | OutputChecked
