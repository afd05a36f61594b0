"""`job logs`: what a job's container wrote."""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer
from msgspec import Struct

from cli import exits, selectors
from cli.arguments import SomeJobs
from cli.bundles import bundled, examples
from cli.completions import job_names, labels, queues, states, users

if TYPE_CHECKING:
    import re

    from swarmsync.client import Client
    from swarmsync.follow import LogChunk

app = typer.Typer()
EPILOG = examples(
    "consumer job logs last",
    "consumer job logs -f --tail 100 @nightly",
    "consumer job logs --stderr --since 10m JOB | less",
    "consumer job logs --timestamps --grep 'error|warn' 'JOB[7]'",
    "consumer job logs --grep Traceback --state failed --label team=ml",
)


class JobChoice(Struct, frozen=True):
    """Jobs by what they are, in place of their ids."""

    label: Annotated[
        list[str] | None,
        typer.Option("-l", "--label", metavar="KEY=VALUE", help="Of jobs with it; repeatable.", autocompletion=labels),
    ] = None
    name: Annotated[str, typer.Option("--name", help="Of jobs of this name.", autocompletion=job_names)] = ""
    state: Annotated[str, typer.Option("--state", "-s", help="Of jobs in this state.", autocompletion=states)] = ""
    user: Annotated[str, typer.Option("--user", "-u", help="Of jobs of this user.", autocompletion=users)] = ""
    queue: Annotated[str, typer.Option("--queue", help="Of jobs of this queue.", autocompletion=queues)] = ""
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Of the newest so many jobs.")] = 100

    def given(self) -> bool:
        return bool(self.label or self.name or self.state or self.user or self.queue)

    def resolve(self, client: "Client", selected: list[str]) -> list[str]:
        """Return the jobs, those that were chosen by what they are from the oldest to the newest."""
        if bool(selected) == self.given():
            raise typer.BadParameter("name jobs, or choose them with --label, --name, --state, --user or --queue")
        if selected:
            return selectors.resolve(client, selected)
        filters = {"name": self.name, "state": self.state, "user": self.user, "queue": self.queue}
        found = client.jobs({**filters, "label": self.label or []}, limit=self.limit)
        return [str(job["id"]) for job in found][::-1]


@app.command("logs", epilog=EPILOG)
@bundled
def logs(
    *,
    job: SomeJobs = None,
    choice: JobChoice,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job ends.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", "-n", min=0, help="Only the last lines.")] = None,
    since: Annotated[str, typer.Option("--since", help="Only what was written since: 2h, or a time.")] = "",
    attempt: Annotated[int | None, typer.Option("--attempt", min=1, help="Only this attempt.")] = None,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only stderr.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Only stdout.")] = False,
    timestamps: Annotated[bool, typer.Option("-t", "--timestamps", help="Begin each line with its time.")] = False,
    grep: Annotated[str, typer.Option("--grep", metavar="REGEX", help="Only lines that match.")] = "",
) -> None:
    """Print what jobs wrote; -f goes on until the job ends.

    Of several jobs, or of those that --label, --name, --state and the others choose, each line has its job before it.
    The container's stdout goes to stdout and its stderr to stderr, byte for byte, as docker logs does; on a terminal,
    too. Ctrl-C ends the printing, not the job. Where no line matches --grep, stderr says so; the exit code is 0.
    """
    from cli.attach import PATIENCE_S
    from cli.output import leave_broken_pipe
    from cli.profiles import connect
    from cli.times import since_filter
    from swarmsync.follow import LogChunk, pieces
    from swarmsync.follow import follow as follow_job

    query = {
        "stream": "stderr" if stderr and not stdout else "stdout" if stdout and not stderr else None,
        "tail": tail,
        "since": since_filter(since),
        "attempt": attempt,
    }
    pattern = _pattern(grep)
    with connect(PATIENCE_S if follow else 1.0) as client:
        job_ids = choice.resolve(client, job or [])
        if follow and len(job_ids) != 1:
            raise typer.BadParameter("one job can be followed at a time", param_hint="--follow")
        several = len(job_ids) > 1 or choice.given()
        matched = 0
        try:
            for job_id in job_ids:
                printer = _Printer(timestamps=timestamps, pattern=pattern, job=job_id if several else "")
                whole = pieces(client, job_id, query)
                stream = follow_job(client, job_id, query, patience_s=PATIENCE_S) if follow else whole
                cut: Sequence[str] = ()
                for piece in stream:
                    if isinstance(piece, LogChunk):
                        printer.print(piece)
                    else:
                        cut = piece.output_truncated
                printer.finish()
                exits.say_truncated(job_id, cut)
                matched += printer.lines_shown
        except BrokenPipeError:
            leave_broken_pipe()
    if pattern is not None and not matched:
        exits.say(f"no line matches {grep!r}")


def _pattern(text: str) -> "re.Pattern[bytes] | None":
    if not text:
        return None
    import re

    try:
        return re.compile(text.encode())
    except re.error as error:
        raise typer.BadParameter(f"{text!r} is no regular expression: {error}", param_hint="--grep") from None


class _Printer:
    """Chunks to our own stdout and stderr: as they are, or line by line when lines are asked for."""

    def __init__(self, *, timestamps: bool, pattern: "re.Pattern[bytes] | None", job: str) -> None:
        self._timestamps = timestamps
        self._pattern = pattern
        self._prefix = f"{job}: ".encode() if job else b""
        self._rest: dict[str, tuple[str, bytes]] = {}
        self.lines_shown = 0

    def print(self, chunk: "LogChunk") -> None:
        out = self._out(chunk.stream)
        if self._timestamps or self._pattern is not None or self._prefix:
            for line in self._lines(chunk):
                out.write(line)
        else:
            out.write(chunk.data)
        out.flush()

    def finish(self) -> None:
        """Print the last lines, which have no end."""
        for stream, (at, rest) in self._rest.items():
            for line in self._shown(at, rest + b"\n" if self._prefix else rest):
                self._out(stream).write(line)
                self._out(stream).flush()

    def _out(self, stream: str) -> BinaryIO:
        return sys.stdout.buffer if stream == "stdout" else sys.stderr.buffer

    def _lines(self, chunk: "LogChunk") -> Iterator[bytes]:
        at, rest = self._rest.pop(chunk.stream, (chunk.at, b""))
        *whole, rest = (rest + chunk.data).split(b"\n")
        for line in whole:
            yield from self._shown(at, line + b"\n")
            at = chunk.at
        if rest:
            self._rest[chunk.stream] = (at, rest)

    def _shown(self, at: str, line: bytes) -> Iterator[bytes]:
        if self._pattern is None or self._pattern.search(line):
            self.lines_shown += 1
            yield self._prefix + (f"{at} ".encode() + line if self._timestamps else line)
