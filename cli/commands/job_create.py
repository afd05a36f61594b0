"""`job create` (alias `submit`) and `job validate`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.bundles import bundled, examples
from cli.output import OneView, emit, show_each, show_one, to_yaml
from cli.spec_flags import SpecFlags, SubmitFlags, image_document

if TYPE_CHECKING:
    from swarmsync.client import Client

app = typer.Typer()
BATCH_MAX: Final = 10_000

File = Annotated[str, typer.Option("-f", "--file", metavar="FILE", help="Specs in YAML or JSON; - is stdin.")]
Image = Annotated[str, typer.Argument(metavar="IMAGE", help="The image, when there is no file.")]
Command = Annotated[list[str] | None, typer.Argument(metavar="CMD", help="The command and its arguments.")]
CREATE_EXAMPLES = examples(
    "consumer job create -f job.yaml",
    "consumer job create -f - < jobs.jsonl",
    "consumer job create -f job.yaml --priority 80 -l team=ml     (flags go before the file's values)",
    "consumer submit --array 0-19 --retries 2 alpine:3.20 sh -c 'echo $SWARMSYNC_ARRAY_INDEX'",
)


@app.command("create", epilog=CREATE_EXAMPLES, context_settings={"allow_interspersed_args": False})
@bundled
def create(
    *,
    flags: SpecFlags,
    more: SubmitFlags,
    view: OneView,
    file: File = "",
    image: Image = "",
    command: Command = None,
) -> None:
    """Submit jobs from a file or from flags; prints their ids.

    A file has one spec, a list, several YAML documents, or JSON lines. All jobs of a file are accepted or none (in
    groups of 10,000). An answer that gets lost on the way never makes a second job.
    """
    from cli.profiles import SUBMIT_PATIENCE_S, connect

    specs = read_given(file, image, command, {**flags.document(), **more.document()})
    with connect(SUBMIT_PATIENCE_S) as client:
        specs = [with_parents(client, spec) for spec in specs]
        if len(specs) == 1:
            job: dict[str, Any] = {**client.submit(specs[0])}
            show_one(view, job, lambda job: f"{job['id']}\n")
            return
        if view.output not in ("json", "jsonl", "yaml"):
            for ids in _in_groups(client, specs):
                emit("".join(f"{job_id}\n" for job_id in ids))
            return
        made: list[str] = []
        try:
            for ids in _in_groups(client, specs):
                made += ids
        finally:  # when a later group is refused, nobody must search for what was made before
            if made:
                show_one(view, {"ids": made}, lambda _: "")


def _in_groups(client: "Client", specs: list[dict[str, Any]]) -> Iterator[list[str]]:
    for start in range(0, len(specs), BATCH_MAX):
        yield client.submit_many(specs[start : start + BATCH_MAX])


@app.command(
    "validate", epilog=examples("consumer job validate -f job.yaml", "consumer job validate -m 1g alpine:3.20")
)
@bundled
def validate(
    *,
    flags: SpecFlags,
    more: SubmitFlags,
    view: OneView,
    file: File = "",
    image: Image = "",
    command: Command = None,
) -> None:
    """Check specs and print them in full, defaults filled in; changes nothing. Exit code 2 when one is wrong."""
    from cli.profiles import connect

    with connect() as client:
        specs = read_given(file, image, command, {**flags.document(), **more.document()})
        show_each(view, map(client.validate, specs), to_yaml, several=len(specs) > 1)


@app.command("schema", epilog=examples("consumer job schema > job.schema.json"))
def schema() -> None:
    """Print the JSON Schema of a spec, for editors and other programs; needs no Core."""
    import msgspec

    from swarmsync.protocol.schema import job_schema

    emit(msgspec.json.format(msgspec.json.encode(job_schema()), indent=2).decode() + "\n")


def with_parents(client: "Client", spec: dict[str, Any]) -> dict[str, Any]:
    """Write the ids of jobs that `after` names as people do: `last`, `@name`, the beginning of an id, `JOB[7]`."""
    from cli.selectors import resolve_one
    from swarmsync.ids import decode

    after = spec.get("after")
    if not isinstance(after, list):
        return spec
    full = []
    for entry in after:
        job = entry.get("job") if isinstance(entry, dict) else None
        if isinstance(job, str) and job and decode(job) is None and not job.startswith("#"):
            full.append({**entry, "job": client.job(resolve_one(client, job))["id"]})
        else:
            full.append(entry)
    return {**spec, "after": full}


def read_given(file: str, image: str, command: list[str] | None, flags: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the specs of FILE or of IMAGE and its command, with the flags laid over them."""
    if bool(file) == bool(image):
        raise typer.BadParameter("give either -f FILE or an IMAGE")
    if image:
        return [{**image_document(image, command), **flags}]
    from cli.spec_files import merged, read_specs

    return [merged(spec, flags) for spec in read_specs(file)]
