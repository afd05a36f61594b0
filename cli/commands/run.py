"""`consumer run`: submit one job and stay with it, as `docker run` does."""

from typing import Annotated

import typer

from cli.bundles import bundled, examples
from cli.spec_flags import SpecFlags, image_document

app = typer.Typer()

EPILOG = examples(
    "consumer run alpine:3.20 echo hello",
    "consumer run --cpus 2 -m 1g --timeout 2h -v cache:/cache python:3.12 python train.py",
    "consumer run -d --name nightly alpine:3.20 sleep 60",
)


@app.command("run", epilog=EPILOG, context_settings={"allow_interspersed_args": False})
@bundled
def run(
    flags: SpecFlags,
    image: Annotated[
        str, typer.Argument(metavar="IMAGE", help="The image; everything after it goes to the container.")
    ],
    command: Annotated[list[str] | None, typer.Argument(metavar="CMD", help="The command and its arguments.")] = None,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Print the job's id and go.")] = False,
    remove: Annotated[  # noqa: ARG001 fingers type it
        bool, typer.Option("--rm", help="Always so: no container is left behind.")
    ] = False,
    terminal: Annotated[
        bool, typer.Option("-i", "--interactive", "-t", "--tty", hidden=True, help="Refused: jobs have no terminal.")
    ] = False,
) -> None:
    """Run a container to its end, as docker run does.

    Output comes as the container writes it, stdout and stderr apart, and the exit code is the container's. 124: timed
    out. 125: SwarmSync's fault or refusal (rejected, lost, expired, no image, Core away). 126, 127: the command cannot
    be run or is not there. 128+n: ended by signal n.

    Ctrl-C cancels the job and waits for its end (130); once more leaves at once. The job itself outlives a lost
    terminal or a restart of Core. A job that no worker could ever run waits, and says so once on stderr.
    """
    from cli import exits
    from swarmsync.errors import SwarmError

    if terminal:
        raise typer.BadParameter(
            "a job has no stdin and no terminal; leave -i and -t out, and give all that it shall do:"
            " consumer run IMAGE sh -c 'first; second'"
        )
    try:
        raise typer.Exit(_run({**image_document(image, command), **flags.document()}, detach=detach))
    except SwarmError as error:
        exits.report(error)
        raise typer.Exit(exits.SWARMSYNC_FAULT) from None


def _run(spec: dict[str, object], *, detach: bool) -> int:
    from cli import exits
    from cli.attach import Attachment, Signals
    from cli.output import emit
    from cli.profiles import SUBMIT_PATIENCE_S, connect
    from swarmsync.errors import Unavailable

    signals = Signals()
    with signals.caught():
        with connect(SUBMIT_PATIENCE_S) as client:
            job_id = client.submit(spec)["id"]
        if detach:
            emit(f"{job_id}\n")
            return 0
        try:
            return Attachment(connect, job_id, signals).run()
        except Unavailable as error:
            exits.say(f"lost Core, the job may go on: {error}; see it with: consumer job logs -f {job_id}")
            return exits.SWARMSYNC_FAULT
