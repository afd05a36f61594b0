"""`job wait`: until one job or all of them have ended."""

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli import exits, selectors
from cli.arguments import Jobs
from cli.bundles import examples
from cli.output import Document, emit

if TYPE_CHECKING:
    from swarmsync.calls import Job
    from swarmsync.client import Client

app = typer.Typer()
LOOK_S: Final = 20
PAUSE_S: Final = 0.2
_NEVER: Final = ("Unsatisfiable", "DependencyNeverSatisfied")
EPILOG = examples(
    "consumer job wait last && echo good",
    "consumer job wait --timeout 5m JOB1 JOB2",
    "consumer job wait --any $(consumer ps -q)",
    "consumer job wait --exit-code last; echo $?",
)


@app.command("wait", epilog=EPILOG)
def wait(
    jobs: Jobs,
    first: Annotated[bool, typer.Option("--any", help="Until the first of them has ended.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", help="Give up after this (exit code 7); the jobs go on.")] = "",
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit as consumer run would; of several or an array: the highest.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing on stdout.")] = False,
) -> None:
    """Wait until jobs end.

    Prints id, state and exit code of each. Exit code 0: all succeeded; 1: one did not; 7: the time-out passed.
    """
    from cli.attach import PATIENCE_S
    from cli.profiles import connect
    from cli.times import seconds
    from swarmsync.errors import SwarmError

    timeout_s = seconds(timeout, "--timeout")
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    try:
        with connect(PATIENCE_S) as client:
            waiter = _Waiter(client, deadline)
            ids = selectors.resolve(client, jobs)
            ended = waiter.any(ids) if first else waiter.all(ids)
            if not quiet:
                emit("".join(_line(job) for job in ended))
            raise typer.Exit(_code(client, ended, exit_code=exit_code))
    except TimeoutError as error:
        exits.say(f"{error}; gave up after {timeout}")
        raise typer.Exit(exits.WAIT_TIMED_OUT) from None
    except SwarmError as error:
        if not exit_code:
            raise
        exits.report(error)
        raise typer.Exit(exits.SWARMSYNC_FAULT) from None


class _Waiter:
    """Long-polls until a deadline (monotonic seconds, None is never) and tells once why a job cannot start."""

    def __init__(self, client: "Client", deadline: float | None) -> None:
        self._client = client
        self._deadline = deadline
        self._told: set[str] = set()

    def all(self, ids: list[str]) -> "list[Job]":
        ended = []
        for job_id in ids:
            while (job := self._look(job_id, LOOK_S)) is None:
                pass
            ended.append(job)
        return ended

    def any(self, ids: list[str]) -> "list[Job]":
        look_s = LOOK_S if len(ids) == 1 else 0
        while True:
            for job_id in ids:
                if (job := self._look(job_id, look_s)) is not None:
                    return [job]
            if (job := self._look(ids[0], 1)) is not None:
                return [job]

    def _look(self, job_id: str, look_s: int) -> "Job | None":
        """Return the job if it ends within `look_s`. Raises TimeoutError when the deadline has passed."""
        from swarmsync.calls import FINAL_STATES

        left = look_s if self._deadline is None else min(look_s, self._deadline - time.monotonic())
        asked_at = time.monotonic()
        job = self._client.job(job_id, wait_s=max(0, round(left)))
        if job["state"] in FINAL_STATES:
            return job
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise TimeoutError(f"job {job['id']} is still {job['state']}")
        if job["reason"] in _NEVER and job_id not in self._told:
            self._told.add(job_id)
            exits.say(f"job {job['id']} waits: {job['reason']}: {job['message']}")
        if time.monotonic() - asked_at < min(left, PAUSE_S):
            time.sleep(min(left, PAUSE_S))  # Core counts whole seconds, and may answer early when it is stopping
        return None


def _line(job: "Job") -> str:
    code = "-" if job["exit_code"] is None else job["exit_code"]
    return f"{job['id']}  {job['state']}  {code}\n"


def _code(client: "Client", ended: "list[Job]", *, exit_code: bool) -> int:
    if not exit_code:
        return 0 if all(job["state"] == "succeeded" for job in ended) else exits.ANSWER_IS_NO
    return max(_attached_code(client, job) for job in ended)


def _attached_code(client: "Client", job: "Job") -> int:
    document: Document = {**job}
    own = exits.attached_code(document)
    if document.get("array_size") and job["array_index"] is None and own:
        members = client.jobs({"array": job["id"]})
        return max((exits.attached_code(member) for member in members), default=own) or own
    return own
