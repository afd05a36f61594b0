"""The client library: what `consumer` is made of, and what other programs import.

    from swarmsync.client import Client

    with Client("http://127.0.0.1:8420", token) as client:
        job = client.submit({"image": "alpine:3.20", "command": ["date"]})
        print(client.wait(job["id"])["state"])

Answers are the API's JSON documents as they came. Failures are the exceptions of `swarmsync.errors`. A request that may
be repeated without harm is repeated while Core is away, for `patience_s` in all. One client serves one thread.
"""

import base64
import time
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from http.client import HTTPException
from typing import IO, Any, Final, Literal, NotRequired, Self, TypedDict
from urllib.parse import quote

import msgspec

from swarmsync import errors
from swarmsync.errors import ChecksumError, SwarmError, Unavailable
from swarmsync.protocol import challenge
from swarmsync.wire import Filters, NotSentError, Wire, cause, read_json, refusal, retry_after_s, target

Document = dict[str, Any]
FINAL_STATES: Final = frozenset({"succeeded", "failed", "timed_out", "cancelled", "expired"})
PAGE_MAX: Final = 1_000
LONG_POLL_S: Final = 60
DOWNLOADS_MAX: Final = 5


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


class Client:
    """Speaks to one Core as one user."""

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        timeout_s: float = 30.0,
        patience_s: float = 10.0,
        sleep: Callable[[float], None] = time.sleep,
        fresh_token: Callable[[], str] = lambda: "",
        ca: str = "",
    ) -> None:
        """`fresh_token` is asked when Core refuses the token; a different one is tried in its place.

        `ca` is the file of the authority's certificate where Core's TLS is signed by a private one.
        """
        self._wire = Wire(url, token, ca)
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._sleep = sleep
        self._fresh_token = fresh_token

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._wire.close()

    def hang_up(self) -> None:
        """Break this client's live streams: who reads them gets Unavailable. The one call for another thread."""
        self._wire.hang_up()

    # --- any call -------------------------------------------------------------------------------------------------

    def get(self, path: str, query: Filters | None = None, *, timeout_s: float | None = None) -> Any:
        return self.call("GET", path, query=query, timeout_s=timeout_s)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Filters | None = None,
        key: str = "",
        repeatable: bool | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Make one call and return its JSON, or None for an empty answer.

        `repeatable` says that doing it twice does no harm; by default all but POST without an idempotency `key`. Raises
        Unavailable when patience ends, RequestError and its kinds for what Core refuses.
        """
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Idempotency-Key": key} if key else {}
        again = repeatable if repeatable is not None else method != "POST" or bool(key)
        deadline, delay_s = time.monotonic() + self._patience_s, 0.05
        while True:
            try:
                status, fields, answer = self._wire.exchange(
                    method, target(path, query), content, headers, timeout_s or self._timeout_s
                )
            except NotSentError as error:
                failure: SwarmError = Unavailable(str(error))
            except (OSError, HTTPException) as error:
                failure = Unavailable(f"the connection to {self._wire.url} broke: {cause(error)}")
                if not again:
                    raise failure from None
            else:
                if status < 400:
                    return read_json(answer) if answer else None
                failure = refusal(status, fields, answer)
                if isinstance(failure, errors.NotLoggedIn) and self._renewed():
                    continue
                if not (again and isinstance(failure, Unavailable)):
                    raise failure
                delay_s = max(delay_s, retry_after_s(fields, 0))
            if time.monotonic() + delay_s > deadline:
                raise failure
            self._sleep(delay_s)
            delay_s = min(delay_s * 2, 1.0)

    def items(self, path: str, filters: Filters | None = None, *, limit: int | None = None) -> Iterator[Document]:
        """Yield the items of a list, newest first, over as many pages as it takes; `limit` ends it earlier."""
        left, cursor = limit, None
        while left is None or left > 0:
            size = PAGE_MAX if left is None else min(left, PAGE_MAX)
            page = self.get(path, {**(filters or {}), "limit": size, "cursor": cursor})
            yield from page["items"] if left is None else page["items"][:left]
            left = None if left is None else left - len(page["items"])
            cursor = page.get("next_cursor")
            if not cursor:
                return

    def lines(
        self,
        path: str,
        query: Filters | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        on_open: Callable[[], None] = lambda: None,
    ) -> Iterator[bytes]:
        """Yield the lines of a live stream as they arrive. Raises Unavailable when the connection breaks."""
        try:
            try:
                yield from self._wire.lines(target(path, query), headers or {}, on_open)
            except errors.NotLoggedIn:
                if not self._renewed():
                    raise
                yield from self._wire.lines(target(path, query), headers or {}, on_open)
        except NotSentError as error:
            raise Unavailable(str(error)) from None
        except (OSError, HTTPException) as error:
            raise Unavailable(f"the stream from {self._wire.url} broke: {cause(error)}") from None

    def _renewed(self) -> bool:
        """Take the token that is in force now; False when that is the one that was refused."""
        before, self._wire.token = self._wire.token, self._fresh_token() or self._wire.token
        return self._wire.token != before

    # --- sessions -------------------------------------------------------------------------------------------------

    def login(self, username: str, password: str) -> Document:
        """Return `{token, expires_at}` and use the token from here on."""
        answer: Document = self.call("POST", "/v1/auth/login", {"username": username, "password": password})
        self._wire.token = answer["token"]
        return answer

    def login_with_key(self, username: str, public_key: bytes, sign: Callable[[bytes], bytes]) -> Document:
        """As `login`, with an Ed25519 key. What `sign` gets to sign names the address that this client uses."""
        named = challenge.key_id(public_key)
        asked = self.call("POST", "/v1/auth/challenge", {"username": username, "key_id": named}, repeatable=True)
        content = challenge.message(
            server_id=asked["server_id"],
            url=self._wire.url,
            named_key=named,
            nonce=asked["nonce"],
            expires_at=asked["expires_at"],
        )
        body = {"challenge_id": asked["challenge_id"], "signature": base64.b64encode(sign(content)).decode()}
        answer: Document = self.call("POST", "/v1/auth/verify", body)
        self._wire.token = answer["token"]
        return answer

    def logout(self) -> None:
        self.call("DELETE", "/v1/auth/session")

    def session(self) -> Document:
        answer: Document = self.get("/v1/auth/session")
        return answer

    # --- jobs -----------------------------------------------------------------------------------------------------

    def submit(self, spec: Document, *, key: str = "") -> Job:
        """Submit one job. It is sent with an idempotency key, so that a lost answer never makes a second job."""
        answer: Job = self.call("POST", "/v1/jobs", spec, key=key or str(uuid.uuid4()))
        return answer

    def submit_many(self, specs: Sequence[Document], *, key: str = "") -> list[str]:
        """Submit up to 10,000 jobs, all or none; returns their ids in order."""
        answer = self.call("POST", "/v1/jobs", {"jobs": list(specs)}, key=key or str(uuid.uuid4()), timeout_s=120)
        ids: list[str] = answer["ids"]
        return ids

    def plan(self, spec: Document) -> Document:
        """Ask where and when a job of this spec would start; changes nothing."""
        document: Document = self.call("POST", "/v1/jobs/plan", spec, repeatable=True)
        return document

    def validate(self, spec: Document) -> Document:
        answer: Document = self.call("POST", "/v1/jobs/validate", spec, repeatable=True)
        return answer

    def jobs(self, filters: Filters | None = None, *, limit: int | None = None) -> Iterator[Document]:
        return self.items("/v1/jobs", filters, limit=limit)

    def job(self, job_id: str, *, wait_s: int = 0) -> Job:
        """Return one job; with `wait_s` when it is final, or as it is after that long (60 at most)."""
        query = {"wait": wait_s} if wait_s else None
        answer: Job = self.get(job_path(job_id), query, timeout_s=self._timeout_s + wait_s)
        return answer

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Return the job when it is final. Raises TimeoutError; the job goes on."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = LONG_POLL_S if deadline is None else min(LONG_POLL_S, deadline - time.monotonic())
            job = self.job(job_id, wait_s=max(0, int(left)))
            if job["state"] in FINAL_STATES:
                return job
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"job {job['id']} is still {job['state']} after {timeout_s:g} s")
            if left < 1:  # the server counts whole seconds; the last part of one is ours
                self._sleep(max(0.0, min(left, 0.2)))

    def act(self, job_id: str, verb: Literal["cancel", "kill", "hold", "release"], body: Document | None = None) -> Job:
        answer: Job = self.call("POST", job_path(job_id, verb), body, repeatable=True)
        return answer

    def cancel(self, job_id: str, reason: str = "") -> Job:
        return self.act(job_id, "cancel", {"reason": reason} if reason else None)

    def rerun(self, job_id: str, *, failed: bool = False) -> Job:
        """Submit the spec of a job that has ended again; with `failed`, of an array only what did not succeed."""
        body = {"failed": True} if failed else None
        answer: Job = self.call("POST", job_path(job_id, "rerun"), body, key=str(uuid.uuid4()))
        return answer

    def update(self, job_id: str, changes: Document) -> Job:
        answer: Job = self.call("PATCH", job_path(job_id), changes)
        return answer

    def outputs(self, job_id: str) -> list[Document]:
        items: list[Document] = self.get(job_path(job_id, "outputs"))["items"]
        return items

    def download(self, job_id: str, output: str, into: IO[bytes]) -> str:
        """Write an output's tar to a file that can seek, and return its SHA-256. Raises ChecksumError."""
        path, tries = target(job_path(job_id, "outputs", output), None), 0
        while True:
            into.seek(0)
            into.truncate()
            digest = sha256()

            def take(data: bytes, digest: Any = digest) -> None:
                digest.update(data)
                into.write(data)

            try:
                header = self._wire.download(path, take)
            except (NotSentError, OSError, HTTPException) as error:
                tries += 1
                if tries == DOWNLOADS_MAX:
                    raise Unavailable(f"the download from {self._wire.url} broke: {cause(error)}") from None
                self._sleep(0.2 * tries)
                continue
            said = header.get("Repr-Digest") or ""
            if said != f"sha-256=:{b64encode(digest.digest()).decode()}:":
                raise ChecksumError(f"the output {output} arrived with SHA-256 {digest.hexdigest()}; Core said {said}")
            return digest.hexdigest()

    def verify(self, job_id: str) -> Document:
        answer: Document = self.get(job_path(job_id, "verify"), timeout_s=600)
        return answer

    def delete(self, job_id: str) -> None:
        self.call("DELETE", job_path(job_id))


def job_path(job_id: str, *rest: str) -> str:
    return "/".join(["/v1/jobs", quote(job_id, safe=""), *(quote(part, safe="") for part in rest)])
