"""`core`: list."""

import typer

from cli.bundles import bundled, examples
from cli.output import Column, ListView, pages_of, show_list
from cli.profiles import connect

app = typer.Typer()
COLUMNS = (
    Column("name"),
    Column("state"),
    Column("term"),
    Column("led_since"),
    Column("address"),
    Column("version"),
    Column("id", wide=True),
    Column("started_at", wide=True),
    Column("seen_at", wide=True),
)


@app.command("list", epilog=examples("consumer core list", "consumer core list -o json"))
@bundled
def list_cores(view: ListView) -> None:
    """List the Cores that share one database: which leads, in which term, since when."""
    with connect() as client:
        show_list(view, COLUMNS, pages_of(client, "/v1/cores", {}))
