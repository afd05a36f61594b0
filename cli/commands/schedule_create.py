"""`schedule create` and `schedule preview`."""

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli import cells
from cli.bundles import bundled, examples
from cli.output import Document, OneView, aligned, show_each
from cli.schedules import PATH, TimeFlags, until
from cli.spec_flags import SpecFlags, image_document

app = typer.Typer()
File = Annotated[str, typer.Option("-f", "--file", metavar="FILE", help="Schedules in YAML or JSON; - is stdin.")]
Image = Annotated[str, typer.Argument(metavar="IMAGE", help="The image, when there is no file.")]
Command = Annotated[list[str] | None, typer.Argument(metavar="CMD", help="The command and its arguments.")]
CREATE_EXAMPLES = examples(
    "consumer schedule create --cron 'H 2 * * *' --tz Europe/Berlin --name nightly alpine:3.20 make report",
    "consumer schedule create --cron '*/5 * * * *' --overlap skip --misfire last -m 256m alpine:3.20 date",
    "consumer schedule create --at 2026-11-24T02:00:00+01:00 alpine:3.20 echo once",
    "consumer schedule create -f nightly.yaml",
    "consumer schedule create --cron @daily -f job.yaml     (a job's spec; the times from flags)",
)
PREVIEW_EXAMPLES = examples(
    "consumer schedule preview --cron 'H 2 * * *' --tz Europe/Berlin --count 5",
    "consumer schedule preview --cron '30 2 * * *' --tz Europe/Berlin --from 2027-03-27T00:00:00Z",
    "consumer schedule preview -f nightly.yaml",
)


@app.command("create", epilog=CREATE_EXAMPLES, context_settings={"allow_interspersed_args": False})
@bundled
def create(
    *,
    times: TimeFlags,
    flags: SpecFlags,
    view: OneView,
    file: File = "",
    image: Image = "",
    command: Command = None,
) -> None:
    """Make schedules from a file or from flags; prints their ids.

    --name names the schedule and its jobs. The other flags of run describe the job. Flags go before the file's values.
    """
    from cli.profiles import SUBMIT_PATIENCE_S, connect

    documents = _documents(file, image, command, times, flags.document())
    with connect(SUBMIT_PATIENCE_S) as client:
        made = (client.call("POST", PATH, document, key=str(uuid.uuid4())) for document in documents)
        show_each(view, made, lambda schedule: f"{schedule['id']}\n", several=len(documents) > 1)


def _documents(
    file: str, image: str, command: list[str] | None, times: TimeFlags, job: dict[str, Any]
) -> list[dict[str, Any]]:
    from swarmsync.protocol.schedule_forms import nested

    if bool(file) == bool(image):
        raise typer.BadParameter("give either -f FILE or an IMAGE")
    given = {**({"name": job["name"]} if "name" in job else {}), **times.document()}
    if image:
        return [{**given, "job": {**image_document(image, command), **job}}]
    from cli.spec_files import merged, read_specs

    return [merged(nested(document), {**given, **({"job": job} if job else {})}) for document in read_specs(file)]


@app.command("preview", epilog=PREVIEW_EXAMPLES)
@bundled
def preview(
    *,
    times: TimeFlags,
    view: OneView,
    name: Annotated[str, typer.Option("--name", help="The schedule's name; H and jitter depend on it.")] = "",
    file: File = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=100, help="How many fires.")] = 5,
    after: Annotated[str, typer.Option("--from", metavar="TIME", help="Fires after this (now).")] = "",
) -> None:
    """Show when a schedule would fire, in its local time and UTC, daylight saving included; changes nothing."""
    from cli.profiles import connect
    from cli.spec_files import merged, read_specs
    from swarmsync.protocol.schedule_forms import nested

    given: Document = {**({"name": name} if name else {}), **times.document()}
    documents = [merged(nested(document), given) for document in read_specs(file)] if file else [given]
    if not file and not (times.cron or times.at or times.delay):
        raise typer.BadParameter("give --cron EXPR, --at TIME, --delay TIME or -f FILE")
    asked = {"count": count, **({"from": after} if after else {})}
    with connect() as client:
        fires = (
            client.call("POST", f"{PATH}/preview", {**document, **asked}, repeatable=True) for document in documents
        )
        show_each(view, fires, _describe, several=len(documents) > 1)


def _describe(answer: Document) -> str:
    now = datetime.now(UTC)
    rows = [
        [cells.plain(fire["local"]), cells.plain(fire["at"]), until(fire["at"], now), cells.plain(fire.get("note"))]
        for fire in answer["items"]
    ]
    if not rows:
        return "It never fires.\n"
    return "".join(f"{line}\n" for line in aligned([["LOCAL", "UTC", "IN", "NOTE"], *rows]))
