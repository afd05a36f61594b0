"""Jobs, their attempts, results, outputs, events, and why they wait."""

from typing import Literal, NotRequired, TypeAlias, TypedDict

from api.answers.pages import Labels, Moment, StreamName
from swarmsync.model.lifecycle import JobState
from swarmsync.model.spec import JobSpec


class Stream(TypedDict):
    """One output stream: what there was and what of it was kept, with the SHA-256 of all of it and of what was kept."""

    size: int
    kept: int
    sha256: str
    kept_sha256: NotRequired[str]


class CollectedOutput(TypedDict):
    """One output as its worker collected it: the tar's length and SHA-256, and how many files and bytes are in it."""

    name: str
    size: int
    sha256: str
    files: int
    bytes: int


class Spent(TypedDict):
    pull_ms: int
    create_ms: int
    start_ms: int
    stop_ms: int
    collect_ms: int


class Outcome(TypedDict):
    """What the last attempt left."""

    stdout: Stream
    stderr: Stream
    cpu_ms: int | None
    memory_peak_bytes: int | None
    ran_ms: int | None
    spent: Spent
    outputs: NotRequired[list[CollectedOutput]]


class OutputBytes(TypedDict):
    stdout: int | None
    stderr: int | None


class ListedJob(TypedDict):
    """A job as lists show it. A very large spec is shown with the job alone, and null in lists."""

    id: str
    name: str
    user: str
    queue: str
    state: JobState
    reason: str
    message: str
    since: Moment | None
    priority: int
    labels: Labels
    spec: JobSpec | None
    submitted_at: Moment | None
    run_at: Moment | None
    expires_at: Moment | None
    started_at: Moment | None
    finished_at: Moment | None
    attempt: int
    fence: int
    worker: str | None
    exit_code: int | None
    image: str | None
    stop_reason: str | None
    rerun_of: str | None
    schedule_id: str | None
    array_id: str | None
    array_index: int | None
    array_size: int | None
    result: Outcome | None
    output_bytes: OutputBytes
    output_truncated: list[StreamName]


class Attempt(TypedDict):
    """One assignment of the job to a worker; what only an ended one has is null in the live one."""

    attempt: int
    state: Literal["offered", "accepted", "pulling", "creating", "running", "stopping", "collecting", "ended", "lost"]
    worker: str | None
    outcome: str | None
    reason: str | None
    message: str | None
    exit_code: int | None
    offered_at: Moment | None
    started_at: Moment | None
    ended_at: Moment | None
    superseded: int


class Members(TypedDict):
    """An array's members, counted by state."""

    total: int
    by_state: dict[JobState, int]


class Phase(TypedDict):
    """A part of the time since the job was submitted; all parts together are all of it."""

    phase: str
    reason: str
    seconds: float


class JobDocument(ListedJob):
    """A job alone: its attempts, the live one last; where its time went; and, once it has ended, why, in a line."""

    assignments: list[Attempt]
    array: NotRequired[Members]
    ledger: NotRequired[list[Phase]]
    obituary: NotRequired[str | None]
    gone_by: NotRequired[Moment]  # by when its container is gone although its worker cannot be reached


class JobIds(TypedDict):
    ids: list[str]


class ResultStream(TypedDict):
    size: int
    kept: int
    truncated: bool
    sha256: str | None
    kept_sha256: NotRequired[str]


class JobResult(TypedDict):
    """How a job ended; `duration_s` is from the last attempt's start to the end."""

    id: str
    name: str
    state: JobState
    reason: str
    message: str
    exit_code: int | None
    attempt: int
    worker: str | None
    submitted_at: Moment | None
    started_at: Moment | None
    finished_at: Moment | None
    duration_s: float | None
    stdout: ResultStream | None
    stderr: ResultStream | None
    cpu_ms: int | None
    memory_peak_bytes: int | None
    outputs: list[CollectedOutput]
    array: NotRequired[Members]
    ledger: list[Phase]
    obituary: str | None


class StoredOutput(TypedDict):
    """One output that can be fetched: a tar of `tar_bytes` with so many files and bytes in it."""

    name: str
    attempt: int
    files: int
    bytes: int
    tar_bytes: int
    sha256: str
    stored_at: Moment | None


class StoredOutputs(TypedDict):
    items: list[StoredOutput]


FindingKind: TypeAlias = Literal["spec", "stream", "output"]


class Finding(TypedDict):
    """One thing that is stored of a job beside what was said of it; `ok` is null where nothing was said."""

    name: str
    kind: FindingKind
    ok: bool | None
    bytes: int | None
    sha256: str | None
    stored_bytes: int
    stored_sha256: str | None
    note: str


class Findings(TypedDict):
    id: str
    ok: bool
    items: list[Finding]


class ParentJob(TypedDict):
    job: str
    condition: str
    state: str


class BlockerDocument(TypedDict):
    """One thing between a job and its start. `blocking: false` is worth knowing, and hinders nothing."""

    reason: str
    message: str
    since: Moment | None
    blocking: NotRequired[bool]
    holders: NotRequired[list[str]]
    parents: NotRequired[list[ParentJob]]
    members: NotRequired[int]


class EarlierAttempt(TypedDict):
    attempt: int
    worker: str | None
    reason: str
    message: str
    exit_code: int | None
    superseded: int


class Evidence(TypedDict):
    reason: str
    cause: str
    message: str
    stopped: str
    exit_code: int | None
    signal: str | None
    memory_limit_bytes: int
    memory_peak_bytes: int | None
    timeout_ms: int | None
    worker: str | None
    attempt: int
    ran_s: float | None
    earlier: list[EarlierAttempt]


class Obituary(TypedDict):
    """Why a job ended, in a line, and what that rests on."""

    line: str
    evidence: Evidence


class WhyDocument(TypedDict):
    """Everything that stands between a job and its start, in the contract's order; `position` counts from 1."""

    state: JobState
    blockers: list[BlockerDocument]
    position: int | None
    would_start_if: list[str]
    message: str
    ended: Obituary | None


class PlanDocument(TypedDict):
    """What would become of a spec that is submitted now. `jobs` is how many it makes."""

    verdict: Literal["now", "later", "never"]
    message: str
    worker: str | None
    starts_at: Moment | None
    state: JobState
    blockers: list[BlockerDocument]
    position: int | None
    would_start_if: list[str]
    jobs: int


class Plans(TypedDict):
    jobs: list[PlanDocument]


class Specs(TypedDict):
    jobs: list[JobSpec]


class OutputPiece(TypedDict):
    """A line of `format=jsonl`: bytes of a stream, as text or, where they are none, in Base64."""

    stream: StreamName
    attempt: int
    offset: int
    at: Moment | None
    data: NotRequired[str]
    data_b64: NotRequired[str]


class OutputState(TypedDict):
    """A line of `format=jsonl`: the job's state when it changes, and as a sign of life."""

    state: JobState
    reason: str
    message: str
    attempt: int


class LastState(TypedDict):
    state: JobState
    reason: str
    message: str
    exit_code: int | None
    output_truncated: list[StreamName]
    attempt: int


class OutputEnd(TypedDict):
    """The last line of `format=jsonl`."""

    end: LastState


class JobEvent(TypedDict):
    """One change of a job's state; of a job whose record was deleted only the change is known."""

    id: str
    job: str
    state: JobState
    reason: str
    message: str
    at: Moment | None
    since: Moment | None
    attempt: int
    worker: str | None
    name: str | None
    user: str | None
    queue: str | None
    cpus: float | None
    memory: int | None
    array_index: int | None
    array_size: int | None


class SnapshotDocument(TypedDict):
    """Jobs as they were at a moment; `/v1/events?after=PLACE` tells what came after."""

    at: Moment | None
    place: str
    items: list[JobEvent]
    next_cursor: str | None
