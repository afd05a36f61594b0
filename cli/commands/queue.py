"""`queue list`."""

import typer

from cli.bundles import bundled, examples
from cli.output import Column, ListView, pages_of, show_list
from cli.profiles import connect

app = typer.Typer()
COLUMNS = (Column("name"), Column("paused"), Column("waiting"), Column("running"), Column("created_at", wide=True))


@app.command("list", epilog=examples("consumer queue list", "consumer queue list -o json"))
@bundled
def list_queues(view: ListView) -> None:
    """List queues."""
    with connect() as client:
        show_list(view, COLUMNS, pages_of(client, "/v1/queues", {}))
