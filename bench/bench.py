"""`bench`: throughput, latency and rings of this machine, for people (default) or programs (`--json`)."""

import importlib
import json
import sys
from typing import Annotated, Any

import typer

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Measure SwarmSync on this machine."
)

SCENARIOS = {
    "rings": "records/s through shared memory, beside a pipe",
    "throughput": "durable jobs/s from HTTP to the verdict, simulated workers",
    "latency": "submit to container start, beside docker run",
    "schedules": "how late fires are, alone and 1,000 at once, beside 99,000 that sleep",
}

Quick = Annotated[bool, typer.Option("--quick", help="fewer rounds: an impression, not a figure")]
Json = Annotated[bool, typer.Option("--json", help="one JSON line per scenario")]


def run_scenario(name: str, *, quick: bool, as_json: bool) -> None:
    """Measure one scenario and print it with what it depends on."""
    from bench.harness import circumstances

    if not as_json:
        print(f"{name}: {SCENARIOS[name]} ...", file=sys.stderr, flush=True)
    figures: dict[str, Any] = importlib.import_module(f"bench.scenarios.{name}").measure(quick=quick)
    result = {"scenario": name, "quick": quick, **circumstances(), "figures": figures}
    print(json.dumps(result) if as_json else json.dumps(figures, indent=2), flush=True)


@app.command()
def rings(quick: Quick = False, json: Json = False) -> None:
    """Records/s of our ring beside a pipe."""
    run_scenario("rings", quick=quick, as_json=json)


@app.command()
def throughput(quick: Quick = False, json: Json = False) -> None:
    """Durable jobs/s from HTTP to the verdict."""
    run_scenario("throughput", quick=quick, as_json=json)


@app.command()
def latency(quick: Quick = False, json: Json = False) -> None:
    """Submit to container start, beside docker run."""
    run_scenario("latency", quick=quick, as_json=json)


@app.command()
def schedules(quick: Quick = False, json: Json = False) -> None:
    """How late fires are, and what 100,000 schedules cost."""
    run_scenario("schedules", quick=quick, as_json=json)


@app.command(name="all")
def everything(quick: Quick = False, json: Json = False) -> None:
    """All scenarios, one after the other."""
    for name in SCENARIOS:
        run_scenario(name, quick=quick, as_json=json)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
