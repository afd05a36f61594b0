"""What a client says to Core: each call as data, and what is done when one fails. Pure.

`client.py` makes these calls and waits, `async_client.py` makes them on a loop; neither knows a path.
A program is a generator that yields what is to be done (`Send`, `Pause`, `Renew`) and gets what came of it.
"""

import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, Generic, Literal, NotRequired, TypeAlias, TypedDict, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from swarmsync import errors
from swarmsync.errors import RequestError, SwarmError, Unavailable
from swarmsync.wire import Fields, Filters, NotSentError, read_json, refusal, retry_after_s, target

Document = dict[str, Any]
T = TypeVar("T")
FINAL_STATES: Final = frozenset({"succeeded", "failed", "timed_out", "cancelled", "expired"})
PAGE_MAX: Final = 1_000
LONG_POLL_S: Final = 60
SUBMIT_S: Final = 120.0
VERIFY_S: Final = 600.0
DELAY_MIN_S: Final = 0.05
DELAY_MAX_S: Final = 1.0
#: Half as long again each time: who waits for a Core that starts learns of it at most so much too late.
GROWTH: Final = 1.5


class Job(TypedDict):
    """A job as the API shows it; newer versions of Core may add fields."""

    id: str
    name: str
    user: str
    queue: str
    state: str
    reason: str
    message: str
    since: str
    gone_by: str | None
    priority: int
    labels: dict[str, str]
    spec: Document
    submitted_at: str
    started_at: str | None
    finished_at: str | None
    attempt: int
    fence: int
    worker: str | None
    exit_code: int | None
    rerun_of: str | None
    schedule_id: str | None
    array_index: int | None
    assignments: NotRequired[list[Document]]


class Request(Struct, Generic[T], frozen=True):
    """One call, and by its type what Core answers.

    `repeatable` says that doing it twice does no harm; None stands for all but POST without an idempotency `key`.
    `raw` asks for the bytes of the answer; `extra_s` is added to the time that a call may take.
    """

    method: str
    path: str
    body: Any = None
    query: Filters | None = None
    key: str = ""
    repeatable: bool | None = None
    timeout_s: float | None = None
    extra_s: float = 0.0
    raw: bool = False

    @property
    def again(self) -> bool:
        return self.repeatable if self.repeatable is not None else self.method != "POST" or bool(self.key)


class Reply(Struct, frozen=True):
    status: int
    fields: Fields
    body: bytes


class BrokenError(Exception):
    """The connection broke after something may have reached Core; the message says how."""


class Send(Struct, frozen=True):
    """Make one exchange; what comes of it is a Reply, or NotSentError or BrokenError is thrown in."""

    method: str
    target: str
    content: bytes | None
    headers: Mapping[str, str]
    timeout_s: float


class Pause(Struct, frozen=True):
    seconds: float


class Renew(Struct, frozen=True):
    """Take the token that is in force now; what comes of it is False when that is the one that was refused."""


Effect: TypeAlias = Send | Pause | Renew
Program: TypeAlias = Generator[Effect, Any, T]


class Manner(Struct, frozen=True):
    """How a client calls: how long one exchange may take, how long a Core that is away is waited for, and the clock."""

    timeout_s: float
    patience_s: float
    now: Callable[[], float]


# ---------------------------------------------------- programs


def perform(request: Request[T], manner: Manner) -> Program[T]:
    """Make one call, again while Core is away. Raises Unavailable when patience ends, RequestError for a refusal."""
    content = None if request.body is None else _written(request.body)
    headers = {"Idempotency-Key": request.key} if request.key else {}
    timeout_s = (request.timeout_s or manner.timeout_s) + request.extra_s
    send = Send(request.method, target(request.path, request.query), content, headers, timeout_s)
    deadline, delay_s = manner.now() + manner.patience_s, DELAY_MIN_S
    while True:
        try:
            reply: Reply = yield send
        except NotSentError as error:
            failure: SwarmError = Unavailable(str(error))
        except BrokenError as error:
            failure = Unavailable(str(error))
            if not request.again:
                raise failure from None
        else:
            if reply.status < 400:
                return _answer(request, reply)
            failure = refusal(reply.status, reply.fields, reply.body)
            if isinstance(failure, errors.NotLoggedIn) and (yield Renew()):
                continue
            if not (request.again and isinstance(failure, Unavailable)):
                raise failure
            delay_s = max(delay_s, retry_after_s(reply.fields, 0))
        if manner.now() + delay_s > deadline:
            raise failure
        yield Pause(delay_s)
        delay_s = min(delay_s * GROWTH, DELAY_MAX_S)


def _written(body: Any) -> bytes:
    """Return the JSON of a body. Raises RequestError for text that has no UTF-8 form, and for depths without end."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise RequestError(
            f"{str(error.object)[:80]!a} cannot be sent: it has bytes that are not UTF-8, or half of a character;"
            " write it as UTF-8"
        ) from None
    except RecursionError:
        raise RequestError("this cannot be sent: it is nested too deeply, or contains itself") from None


def _answer(request: Request[T], reply: Reply) -> T:
    answer: Any = reply.body if request.raw else read_json(reply.body) if reply.body else None
    made: T = answer
    return made


def wait(job_id: str, timeout_s: float | None, manner: Manner) -> Program[Job]:
    """Return the job when it is final. Raises WaitTimeout; the job goes on."""
    deadline = None if timeout_s is None else manner.now() + timeout_s
    while True:
        left = LONG_POLL_S if deadline is None else min(LONG_POLL_S, deadline - manner.now())
        found = yield from perform(job(job_id, max(0, int(left))), manner)
        if found["state"] in FINAL_STATES:
            return found
        if deadline is not None and manner.now() >= deadline:
            raise errors.WaitTimeout(f"job {found['id']} is still {found['state']} after {timeout_s:g} s")
        if left < 1:  # the server counts whole seconds; the last part of one is ours
            yield Pause(max(0.0, min(left, 0.2)))


class Pages:
    """A list over as many pages as it takes; `limit` ends it earlier."""

    def __init__(self, path: str, filters: Filters | None, limit: int | None) -> None:
        self._path = path
        self._filters = filters or {}
        self._left = limit
        self._cursor: str | None = None
        self._over = limit is not None and limit <= 0

    def next(self) -> Request[Document] | None:
        """Return the call for the next page, or None after the last."""
        if self._over:
            return None
        size = PAGE_MAX if self._left is None else min(self._left, PAGE_MAX)
        return Request("GET", self._path, query={**self._filters, "limit": size, "cursor": self._cursor})

    def take(self, page: Document) -> list[Document]:
        """Return the items of a page that are wanted."""
        items: list[Document] = page["items"] if self._left is None else page["items"][: self._left]
        self._left = None if self._left is None else self._left - len(items)
        self._cursor = page.get("next_cursor")
        self._over = not self._cursor or self._left == 0
        return items


# ---------------------------------------------------- calls


def job_path(job_id: str, *rest: str) -> str:
    return "/".join(["/v1/jobs", quote(job_id, safe=""), *(quote(part, safe="") for part in rest)])


def new_key() -> str:
    """Return an idempotency key, so that a lost answer never makes a second job."""
    return str(uuid.uuid4())


def submit(spec: Document, key: str = "") -> Request[Job]:
    return Request("POST", "/v1/jobs", spec, key=key or new_key())


def submit_many(specs: Sequence[Document], key: str = "") -> Request[Document]:
    """Up to 10,000 jobs, all or none."""
    return Request("POST", "/v1/jobs", {"jobs": list(specs)}, key=key or new_key(), timeout_s=SUBMIT_S)


def plan(spec: Document) -> Request[Document]:
    return Request("POST", "/v1/jobs/plan", spec, repeatable=True)


def validate(spec: Document) -> Request[Document]:
    return Request("POST", "/v1/jobs/validate", spec, repeatable=True)


def job(job_id: str, wait_s: int = 0) -> Request[Job]:
    return Request("GET", job_path(job_id), query={"wait": wait_s} if wait_s else None, extra_s=wait_s)


Verb: TypeAlias = Literal["cancel", "kill", "hold", "release"]


def act(job_id: str, verb: Verb, body: Document | None = None) -> Request[Job]:
    return Request("POST", job_path(job_id, verb), body, repeatable=True)


def cancel(job_id: str, reason: str = "") -> Request[Job]:
    return act(job_id, "cancel", {"reason": reason} if reason else None)


def rerun(job_id: str, *, failed: bool = False) -> Request[Job]:
    return Request("POST", job_path(job_id, "rerun"), {"failed": True} if failed else None, key=new_key())


def update(job_id: str, changes: Document) -> Request[Job]:
    return Request("PATCH", job_path(job_id), changes)


def delete(job_id: str) -> Request[None]:
    return Request("DELETE", job_path(job_id))


def part(job_id: str, name: Literal["why", "result", "outputs"]) -> Request[Document]:
    return Request("GET", job_path(job_id, name))


def verify(job_id: str) -> Request[Document]:
    return Request("GET", job_path(job_id, "verify"), timeout_s=VERIFY_S)


def output_of(job_id: str, stream: Literal["stdout", "stderr"]) -> Request[bytes]:
    """All that the newest attempt wrote to one stream and Core has kept."""
    return Request("GET", job_path(job_id, "logs"), query={"stream": stream}, raw=True)


def login(username: str, password: str) -> Request[Document]:
    return Request("POST", "/v1/auth/login", {"username": username, "password": password})


def create_schedule(name: str, cron: str, spec: Document, fields: Mapping[str, Any]) -> Request[Document]:
    body = {"name": name, "cron": cron, "job": spec, **fields}
    return Request("POST", "/v1/schedules", body, key=new_key())


def stats() -> Request[Document]:
    return Request("GET", "/v1/stats")


# ---------------------------------------------------- specs


Command: TypeAlias = str | Sequence[str] | None
#: What `map` goes over: how many members an array has, or what each job finds in its environment.
Inputs: TypeAlias = int | Sequence[str | Mapping[str, str]]
#: Where a job finds an input that is a string.
INPUT: Final = "INPUT"


def spec_of(image: str, command: Command, fields: Mapping[str, Any]) -> Document:
    """Return the spec of a container; `fields` are those of the job spec."""
    given = {} if command is None else {"command": command if isinstance(command, str) else list(command)}
    return {"image": image, **given, **fields}


def specs_over(image: str, command: Command, inputs: Inputs, fields: Mapping[str, Any]) -> list[Document]:
    """Return one array for a number, one job per input else."""
    one = spec_of(image, command, fields)
    if isinstance(inputs, int):
        return [{**one, "array": {"range": f"0-{inputs - 1}", **one.get("array", {})}}]
    environment = one.get("environment") or {}
    return [
        {**one, "environment": {**environment, **({INPUT: each} if isinstance(each, str) else each)}} for each in inputs
    ]


def ids_over(ids: Sequence[str], inputs: Inputs) -> list[str]:
    """Return what to wait for, in the order of the inputs."""
    return [f"{ids[0]}[{index}]" for index in range(inputs)] if isinstance(inputs, int) else list(ids)
