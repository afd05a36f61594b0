"""`job show`, `job why`, `job result`."""

from datetime import UTC, datetime
from typing import Any

import typer

from cli import cells, selectors
from cli.arguments import OneJob
from cli.bundles import bundled, examples
from cli.output import Document, OneView, aligned, facts, show_one, to_yaml
from cli.profiles import connect
from swarmsync.calls import FINAL_STATES, job_path

app = typer.Typer()


@app.command("show", epilog=examples("consumer job show last", "consumer job show @nightly -o json"))
@bundled
def show(job: OneJob, view: OneView) -> None:
    """Show one job with its attempts."""
    with connect() as client:
        found: Any = client.job(selectors.resolve_one(client, job))
        show_one(view, found, _describe)


@app.command("why", epilog=examples("consumer job why last"))
@bundled
def why(job: OneJob, view: OneView) -> None:
    """Explain why a job does not run yet: everything in its way, and what would help."""
    with connect() as client:
        show_one(view, client.get(job_path(selectors.resolve_one(client, job), "why")), _explain)


@app.command("result", epilog=examples("consumer job result last", "consumer job result last -o json"))
@bundled
def result(job: OneJob, view: OneView) -> None:
    """Show how a job ended: exit code, reason, times, usage, and size and SHA-256 of its output."""
    with connect() as client:
        show_one(view, client.get(job_path(selectors.resolve_one(client, job), "result")), to_yaml)


def _describe(job: Document) -> str:
    now = datetime.now(UTC)
    plain = cells.plain
    text = facts(
        [
            ("Id", plain(job["id"])),
            ("Name", plain(job["name"])),
            ("User", plain(job["user"])),
            ("Queue", f"{plain(job['queue'])}, priority {plain(job['priority'])}"),
            ("State", plain(job["state"])),
            ("Reason", ": ".join(plain(part) for part in (job["reason"], job["message"]) if part)),
            ("Why it ended", plain(job["obituary"]) if job.get("obituary") else ""),
            ("Exit code", plain(job["exit_code"])),
            ("Worker", plain(job["worker"])),
            ("Attempt", plain(job["attempt"])),
            ("Labels", plain(job["labels"])),
            ("Array member", plain(job.get("array_index"))),
            ("Members", _members(job.get("array"))),
            ("Start time", plain(job.get("run_at"))),
            ("Rerun of", plain(job.get("rerun_of"))),
            ("Submitted", _moment(job["submitted_at"], now)),
            ("Started", _moment(job["started_at"], now)),
            ("Finished", _moment(job["finished_at"], now)),
            ("Output", _output(job)),
            ("Took", cells.duration(job["started_at"], job["finished_at"], now)),
        ]
    )
    text += _ledger(job.get("ledger") or [])
    attempts = job.get("assignments") or []
    if attempts:
        header = ("ATTEMPT", "STATE", "WORKER", "REASON", "EXIT", "STARTED", "TOOK", "MESSAGE")
        rows = [_attempt(entry, now) for entry in attempts]
        text += "\nAttempts:\n" + "".join(f"  {line}\n" for line in aligned([header, *rows]))
    spec = "".join(f"  {cells.escape(line)}\n" for line in to_yaml(job["spec"]).splitlines())
    return f"{text}\nSpec:\n{spec}"


def _output(job: Document) -> str:
    """Bytes that were written, and which of them were not kept."""
    sizes, cut = job.get("output_bytes") or {}, job.get("output_truncated") or []
    known = [
        f"{name} {cells.size(size)}{' (truncated)' if name in cut else ''}"
        for name, size in sizes.items()
        if size is not None
    ]
    outputs = ((job.get("result") or {}).get("outputs")) or []
    known += [f"{cells.plain(entry['name'])} {entry['files']} files, {cells.size(entry['bytes'])}" for entry in outputs]
    return "; ".join(known)


def _attempt(entry: Document, now: datetime) -> list[str]:
    return [
        cells.plain(entry.get("attempt")),
        cells.plain(entry.get("outcome") or entry.get("state")),
        cells.plain(entry.get("worker")),
        cells.plain(entry.get("reason")),
        cells.plain(entry.get("exit_code")),
        cells.instant(entry.get("started_at")),
        cells.duration(entry.get("started_at"), entry.get("ended_at"), now),
        cells.plain(entry.get("message")) + _superseded(entry.get("superseded") or 0),
    ]


def _superseded(count: int) -> str:
    """News of an attempt that came after another had taken its place; it changed nothing."""
    return f" (late news refused: {count})" if count else ""


def _ledger(parts: list[Document]) -> str:
    """Where the time went; the parts add up to all of it."""
    if not parts:
        return ""
    rows = [(cells.plain(p["phase"]), f"{p['seconds']:.3f} s", cells.escape(p.get("reason") or "")) for p in parts]
    rows.append(("in all", f"{sum(part['seconds'] for part in parts):.3f} s", ""))
    return "\nWhere the time went:\n" + "".join(f"  {line}\n" for line in aligned(rows))


def _members(array: Document | None) -> str:
    if not array:
        return ""
    states = ", ".join(f"{count} {cells.plain(state)}" for state, count in (array.get("by_state") or {}).items())
    return f"{array.get('total')}: {states}"


def _moment(text: str | None, now: datetime) -> str:
    return f"{cells.instant(text)} ({cells.age(text, now)} ago)" if text else ""


def _explain(answer: Document) -> str:
    state = cells.plain(answer["state"])
    if answer.get("ended"):
        return f"{cells.plain(answer['ended']['line'])}\n"
    lines = [f"The job has ended: {state}." if state in FINAL_STATES else f"The job is {state}."]
    if answer.get("position") is not None:
        lines.append(f"Its place in the line is {answer['position']}.")
    lines += [f"- {cells.plain(b['reason'])}: {cells.plain(b.get('message'))}" for b in answer.get("blockers") or []]
    helps = answer.get("would_start_if") or []
    if helps:
        lines += ["It would start if:", *(f"- {cells.plain(entry)}" for entry in helps)]
    return "".join(f"{line}\n" for line in lines)
