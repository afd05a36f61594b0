"""Schedules, workers, Cores, figures, logs, rules."""

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

from api.answers.pages import Labels, Level, Moment
from swarmsync.model.lifecycle import Eligibility, Liveness
from swarmsync.model.spec import JobSpec


class ScheduleDocument(TypedDict):
    """A schedule with its defaults filled in, and what the engine knows of it."""

    id: str
    name: str
    user: str
    paused: bool
    next_fire_at: Moment | None
    next_fire_local: Moment | None
    last_due_at: Moment | None
    last_outcome: str | None
    last_job_id: str | None
    active_jobs: int
    created_at: Moment | None
    updated_at: Moment | None
    cron: str | None
    at: Moment | None
    delay: int | str | None
    timezone: str
    overlap: str
    misfire: str
    misfire_window: int | str | None
    jitter: int | str
    start: Moment | None
    end: Moment | None
    job: JobSpec


class FireDocument(TypedDict):
    """What became of one due instant."""

    due_at: Moment | None
    outcome: str
    reason: str
    message: str
    job_id: str | None
    fired_at: Moment | None
    lateness_ms: int | None


class NextFire(TypedDict):
    at: Moment | None
    local: Moment | None
    latest: Moment | None
    note: str | None


PreviewDocument = TypedDict(
    "PreviewDocument", {"name": str, "timezone": str, "from": Moment | None, "items": list[NextFire]}
)


class Amounts(TypedDict):
    cpus: float
    memory: int
    gpus: int
    disk: int


class WorkerDocument(TypedDict):
    """A worker; `used` and `jobs` are for operators, and null for others."""

    id: str
    name: str
    liveness: Liveness
    eligibility: Eligibility
    note: str | None
    drain_until: Moment | None
    capacity: Amounts
    used: Amounts | None
    jobs: int | None
    gpus: int
    labels: Labels
    runtime: str
    version: str
    images: list[str]
    joined_at: Moment | None
    last_pulse_at: Moment | None


class JoinToken(TypedDict):
    """Shown this once: the token, until when it holds, and the command to type on that machine."""

    token: str
    expires_at: Moment | None
    nats_url: str
    command: str


class CoreDocument(TypedDict):
    id: str
    name: str
    address: str
    version: str
    state: Literal["leading", "standby", "away"]
    leads: bool
    term: int | None
    led_since: Moment | None
    started_at: Moment | None
    seen_at: Moment | None


class Milliseconds(TypedDict):
    p50: float | None
    p99: float | None
    jobs: NotRequired[int]


class StatsDocument(TypedDict):
    """Counts by state; of users their own jobs."""

    jobs: Mapping[str, int]
    workers: Mapping[str, int]
    waiting: Mapping[str, int]
    finished_last_minute: int
    submit_to_start_ms: Milliseconds
    leader: str | None  # the name and address of the Core that leads


class CurveStep(TypedDict):
    at: Moment | None
    ended: int
    failed: int
    submit_to_start_ms: Milliseconds


class Curve(TypedDict):
    step_s: int
    items: list[CurveStep]


class LastError(TypedDict):
    at: Moment | None
    message: str


class LogRecord(TypedDict):
    id: str
    at: Moment | None
    source: str
    level: Level
    message: str
    job: str | None
    fields: dict[str, Any]


class ModuleDocument(TypedDict):
    """A process of Core and its figures of the last seconds; `last_error` and `recent_logs` are for operators."""

    name: str
    purpose: str
    state: str
    kind: NotRequired[str]
    pid: NotRequired[int | None]
    restarts: NotRequired[int]
    last_exit: NotRequired[str | int | None]
    memory_bytes: NotRequired[int]
    cpu_percent: NotRequired[float]
    pulse_age_ms: NotRequired[float | None]
    pulse_lag_ms: NotRequired[dict[str, float]]
    turns: NotRequired[int]
    rings: NotRequired[dict[str, dict[str, Any]]]
    last_error: NotRequired[LastError | None]
    recent_logs: NotRequired[list[LogRecord]]


class Health(TypedDict):
    status: Literal["ok"]


class Readiness(TypedDict):
    """Of each server that Core needs "ok", or what is wrong with it."""

    status: Literal["ready", "not ready"]
    postgresql: str
    redis: str
    nats: str


class AuditEntry(TypedDict):
    seq: int
    at: Moment | None
    user: str | None
    user_id: str | None
    action: str
    subject: str
    detail: dict[str, Any]
    hash: str


class PolicyDocument(TypedDict):
    scope: Literal["user", "queue"]
    name: str
    paths: list[str]
    capabilities: list[str]
    devices: list[str]
    machine_network: bool
    privileged: bool
    strict: bool
    updated_at: Moment | None


class SecretDocument(TypedDict):
    """A secret's name and dates; never its value."""

    name: str
    created_at: Moment | None
    updated_at: Moment | None
