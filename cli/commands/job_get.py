"""`job get` and `job verify`: the files that a job left behind, and whether all is stored as it was sent."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import cells, exits, selectors
from cli.arguments import OneJob
from cli.bundles import bundled, examples
from cli.output import Document, OneView, aligned, emit, show_one
from cli.profiles import connect
from swarmsync.errors import NotFound

app = typer.Typer()
GET_EXAMPLES = examples(
    "consumer job get last                      (every output, into ./NAME/)",
    "consumer job get @nightly report -o /tmp",
    "consumer job get JOB report --tar > report.tar",
)


@app.command("get", epilog=GET_EXAMPLES)
def get(
    *,
    job: OneJob,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="One output; all when none is given.")] = "",
    directory: Annotated[str, typer.Option("-o", "--output-dir", metavar="DIR", help="Where NAME/ is made.")] = ".",
    tar: Annotated[bool, typer.Option("--tar", help="Write one output's tar to stdout.")] = False,
) -> None:
    """Download the outputs of a job, check them, and unpack each into DIR/NAME.

    Older files of the same names are replaced. Nothing is written outside DIR/NAME, whatever the job put into its tar.
    """
    if tar and not name:
        raise typer.BadParameter("name the output that --tar shall write")
    with connect() as client:
        job_id = selectors.resolve_one(client, job)
        known = [output["name"] for output in client.outputs(job_id)]
        if not name and not known:
            raise NotFound(f"job {job} has no outputs")
        for output in [name] if name else known:
            with tempfile.TemporaryFile() as spool:
                digest = client.download(job_id, output, spool)
                spool.seek(0)
                if tar:
                    _copy_out(spool)
                else:
                    _unpack(spool, Path(directory), output, digest)


def _unpack(spool: Any, directory: Path, output: str, digest: str) -> None:
    from cli.safe_tar import unpack

    files, size = unpack(spool, directory / output)
    emit(f"{cells.plain(str(directory / output))}  {files} files  {cells.size(size)}  sha256 {digest}\n")


def _copy_out(spool: Any) -> None:
    import shutil
    import sys

    shutil.copyfileobj(spool, sys.stdout.buffer)
    sys.stdout.buffer.flush()


@app.command("verify", epilog=examples("consumer job verify last", "consumer job verify JOB -o json"))
@bundled
def verify(job: OneJob, view: OneView) -> None:
    """Read everything that is stored of a job again and compare it with what its worker sent.

    Exit code 1 when something differs.
    """
    with connect() as client:
        found: Any = client.verify(selectors.resolve_one(client, job))
        show_one(view, found, _findings)
    if not found["ok"]:
        raise typer.Exit(exits.ANSWER_IS_NO)


def _findings(found: Document) -> str:
    words = {True: "same", False: "DIFFERS", None: "unknown"}
    header = ("WHAT", "NAME", "STORED", "BYTES", "SHA256", "NOTE")
    rows = [
        [
            cells.plain(item["kind"]),
            cells.plain(item["name"]),
            words[item["ok"]],
            cells.plain(item["stored_bytes"]),
            cells.plain(item["stored_sha256"]),
            cells.plain(item["note"]),
        ]
        for item in found["items"]
    ]
    return "".join(f"{line}\n" for line in aligned([header, *rows]))
