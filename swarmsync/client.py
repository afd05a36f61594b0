"""The client library: what `consumer` is made of, and what other programs import.

    from swarmsync import Client

    with Client() as core:
        print(core.run("alpine:3.20", ["date"]).stdout.decode())

Documents are the API's JSON as it came. Failures are the exceptions of `swarmsync.errors`. A request that may be
repeated without harm is repeated while Core is away, for `patience_s` in all. One client serves one thread;
`swarmsync.AsyncClient` is the same for asyncio.
"""

import base64
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from http.client import HTTPException
from typing import IO, Any, Final, Literal, Self

from msgspec import Struct

from swarmsync import calls
from swarmsync.calls import (
    FINAL_STATES,
    Command,
    Document,
    Inputs,
    Job,
    Verb,
    job_path,
)
from swarmsync.connection import Connection
from swarmsync.errors import ChecksumError, JobFailed, Unavailable
from swarmsync.events import follow_events
from swarmsync.follow import LogChunk, pieces
from swarmsync.follow import follow as follow_output
from swarmsync.protocol import challenge
from swarmsync.wire import Filters, NotSentError, cause, target

DOWNLOADS_MAX: Final = 5
FOLLOW_PATIENCE_S: Final = 120.0


class Completed(Struct, frozen=True):
    """A job that has ended, with what it wrote."""

    job: Job
    stdout: bytes
    stderr: bytes

    @property
    def exit_code(self) -> int | None:
        return self.job["exit_code"]

    def check(self) -> Self:
        """Return this. Raises JobFailed unless the job succeeded."""
        if self.job["state"] != "succeeded":
            raise JobFailed(dict(self.job), self.stderr)
        return self


class Client(Connection):
    """Speaks to one Core as one user."""

    # --- sessions -------------------------------------------------------------------------------------------------

    def login(self, username: str, password: str) -> Document:
        """Return `{token, expires_at}` and use the token from here on."""
        answer = self._do(calls.login(username, password))
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

    # --- containers -----------------------------------------------------------------------------------------------

    def start(self, image: str, command: Command = None, **fields: Any) -> "RunningJob":
        """Submit one container and return at once; `fields` are those of the job spec, such as `resources`."""
        return RunningJob(self, self.submit(calls.spec_of(image, command, fields)))

    def run(
        self, image: str, command: Command = None, *, check: bool = True, wait_s: float | None = None, **fields: Any
    ) -> Completed:
        """Run one container to its end, as `subprocess.run` does a program.

        Raises JobFailed with `check` unless it succeeds, WaitTimeout after `wait_s`; the job then goes on.
        """
        job = self.submit(calls.spec_of(image, command, fields))
        done = self._completed(job["id"], wait_s)
        return done.check() if check else done

    def map(
        self,
        image: str,
        command: Command,
        inputs: Inputs,
        *,
        check: bool = True,
        wait_s: float | None = None,
        **fields: Any,
    ) -> Iterator[Completed]:
        """Run one container per input, as many at a time as there is room for; yield them in order as they end.

        A number makes an array with so many members, which find their index in SWARMSYNC_ARRAY_INDEX. Else each job
        finds its input in INPUT, or in the variables that the input names. All are accepted, or none. `wait_s` counts
        for each.
        """
        if not inputs:
            return
        specs = calls.specs_over(image, command, inputs, fields)
        ids = [self.submit(specs[0])["id"]] if isinstance(inputs, int) else self.submit_many(specs)
        for job_id in calls.ids_over(ids, inputs):
            done = self._completed(job_id, wait_s)
            yield done.check() if check else done

    def _completed(self, job_id: str, wait_s: float | None) -> Completed:
        job = self.wait(job_id, timeout_s=wait_s)
        return Completed(job, self._do(calls.output_of(job_id, "stdout")), self._do(calls.output_of(job_id, "stderr")))

    # --- jobs -----------------------------------------------------------------------------------------------------

    def submit(self, spec: Document, *, key: str = "") -> Job:
        """Submit one job. It is sent with an idempotency key, so that a lost answer never makes a second job."""
        return self._do(calls.submit(spec, key))

    def submit_many(self, specs: Sequence[Document], *, key: str = "") -> list[str]:
        """Submit up to 10,000 jobs, all or none; returns their ids in order."""
        ids: list[str] = self._do(calls.submit_many(specs, key))["ids"]
        return ids

    def plan(self, spec: Document) -> Document:
        """Ask where and when a job of this spec would start; changes nothing."""
        return self._do(calls.plan(spec))

    def validate(self, spec: Document) -> Document:
        return self._do(calls.validate(spec))

    def jobs(self, filters: Filters | None = None, *, limit: int | None = None) -> Iterator[Document]:
        """Yield jobs, newest first; `filters` are those of the API, such as `{"state": "running", "label": "a=b"}`."""
        return self.items("/v1/jobs", filters, limit=limit)

    def job(self, job_id: str, *, wait_s: int = 0) -> Job:
        """Return one job; with `wait_s` when it is final, or as it is after that long (60 at most)."""
        return self._do(calls.job(job_id, wait_s))

    def attach(self, job_id: str) -> "RunningJob":
        """Return a job that was submitted elsewhere."""
        return RunningJob(self, self.job(job_id))

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Return the job when it is final. Raises WaitTimeout, which is a TimeoutError; the job goes on."""
        return self._run(calls.wait(job_id, timeout_s, self._manner))

    def result(self, job_id: str) -> Document:
        """Return exit code, reason, times, usage, and size and SHA-256 of what it wrote."""
        return self._do(calls.part(job_id, "result"))

    def why(self, job_id: str) -> Document:
        """Return why the job waits, or why it ended as it did."""
        return self._do(calls.part(job_id, "why"))

    def logs(
        self,
        job_id: str,
        *,
        follow: bool = False,
        stream: Literal["stdout", "stderr", "both"] = "both",
        tail: int | None = None,
        patience_s: float = FOLLOW_PATIENCE_S,
    ) -> Iterator[LogChunk]:
        """Yield what the job wrote, piece by piece; with `follow` until it ends, over restarts of Core."""
        query = {"stream": stream, "tail": tail}
        said = follow_output(self, job_id, query, patience_s=patience_s) if follow else pieces(self, job_id, query)
        for piece in said:
            if isinstance(piece, LogChunk):
                yield piece

    def events(self, *, job: str = "", last_id: str = "", patience_s: float = FOLLOW_PATIENCE_S) -> Iterator[Document]:
        """Yield every change of a job's state from now on, or from after the event `last_id`; never ends by itself."""
        return follow_events(self, {"job": job}, last_id=last_id, patience_s=patience_s)

    def act(self, job_id: str, verb: Verb, body: Document | None = None) -> Job:
        return self._do(calls.act(job_id, verb, body))

    def cancel(self, job_id: str, reason: str = "") -> Job:
        return self._do(calls.cancel(job_id, reason))

    def rerun(self, job_id: str, *, failed: bool = False) -> Job:
        """Submit the spec of a job that has ended again; with `failed`, of an array only what did not succeed."""
        return self._do(calls.rerun(job_id, failed=failed))

    def update(self, job_id: str, changes: Document) -> Job:
        return self._do(calls.update(job_id, changes))

    def outputs(self, job_id: str) -> list[Document]:
        items: list[Document] = self._do(calls.part(job_id, "outputs"))["items"]
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
        return self._do(calls.verify(job_id))

    def delete(self, job_id: str) -> None:
        self._do(calls.delete(job_id))

    # --- the rest of Core -----------------------------------------------------------------------------------------

    def workers(self) -> Iterator[Document]:
        return self.items("/v1/workers")

    def schedules(self, filters: Filters | None = None) -> Iterator[Document]:
        return self.items("/v1/schedules", filters)

    def create_schedule(self, name: str, cron: str, spec: Document, **fields: Any) -> Document:
        """Make a schedule; `fields` are `timezone`, `overlap`, `misfire` and the like."""
        return self._do(calls.create_schedule(name, cron, spec, fields))

    def stats(self) -> Document:
        return self._do(calls.stats())


class RunningJob:
    """A job and the client that asks for it. `document` is the job as it was last seen."""

    def __init__(self, client: Client, document: Job) -> None:
        self._client = client
        self.document = document
        self.id = document["id"]

    def __repr__(self) -> str:
        return f"<job {self.id} {self.state}>"

    @property
    def state(self) -> str:
        return self.document["state"]

    @property
    def is_over(self) -> bool:
        return self.state in FINAL_STATES

    def refresh(self) -> Self:
        self.document = self._client.job(self.id)
        return self

    def wait(self, timeout_s: float | None = None, *, check: bool = False) -> Self:
        """Return when the job has ended. Raises WaitTimeout, and with `check` JobFailed unless it succeeded."""
        self.document = self._client.wait(self.id, timeout_s=timeout_s)
        if check and self.state != "succeeded":
            raise JobFailed(dict(self.document))
        return self

    def result(self) -> Document:
        return self._client.result(self.id)

    def why(self) -> Document:
        return self._client.why(self.id)

    def logs(self, *, follow: bool = True, stream: Literal["stdout", "stderr", "both"] = "both") -> Iterator[LogChunk]:
        """Yield what it writes until it ends."""
        return self._client.logs(self.id, follow=follow, stream=stream)

    def cancel(self, reason: str = "") -> Self:
        self.document = self._client.cancel(self.id, reason)
        return self

    def kill(self) -> Self:
        self.document = self._client.act(self.id, "kill")
        return self

    def rerun(self) -> "RunningJob":
        """Submit it again; the new job is another one."""
        return RunningJob(self._client, self._client.rerun(self.id))

    def members(self) -> list["RunningJob"]:
        """Return an array's members in the order of their indexes."""
        found = [RunningJob(self._client, _as_job(each)) for each in self._client.jobs({"array": self.id})]
        return sorted(found, key=lambda member: member.document["array_index"] or 0)


def _as_job(document: Document) -> Job:
    job: Any = document
    made: Job = job
    return made
