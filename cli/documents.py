"""What commands print with `-o json` that is no document of the API's; the rest is published in `/v1/openapi.json`."""

from collections.abc import Mapping
from typing import Any, TypedDict


class CheckDocument(TypedDict):
    """One check of `consumer doctor`. `fine` is null for what is merely worth knowing."""

    name: str
    fine: bool | None
    sentence: str


class Checkup(TypedDict):
    """What `consumer doctor -o json` prints; `-o jsonl` prints its items."""

    items: list[CheckDocument]


class AuditVerdict(TypedDict):
    """What `consumer audit verify -o json` prints; `head` is SEQ:HASH, to be written down elsewhere."""

    ok: bool
    entries: int
    head: str
    wrong: str


class BoardLane(TypedDict):
    """A worker and what runs on it."""

    name: str
    jobs: int
    by_state: Mapping[str, int]
    cpus_used: float
    memory_used: int


class BoardJob(TypedDict):
    id: str
    name: str
    user: str
    queue: str
    state: str
    reason: str
    message: str
    since: str
    attempt: int
    worker: str | None
    array_index: int | None


class Board(TypedDict):
    """What `consumer inspect jobs --snapshot -o json` prints: counts by state and reason, workers, jobs."""

    at: str
    jobs: Mapping[str, int]
    waiting: Mapping[str, int]
    workers: list[BoardLane]
    items: list[BoardJob]


class CoreFigures(TypedDict):
    """What `consumer inspect core --snapshot -o json` prints.

    `modules` are as in `/v1/modules`, each with a `condition`; `bottleneck` names the one that holds the others up.
    """

    bottleneck: str | None
    sentence: str
    modules: list[dict[str, Any]]


#: All of them, for those who publish or check them.
PRINTED = (Checkup, AuditVerdict, Board, CoreFigures)
