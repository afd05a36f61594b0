"""The entry of `consumer`: parses the command line, runs one command, and turns its end into an exit code."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.bundles import examples
from cli.lazy_group import LazyGroup
from cli.quick_params import quicken

app = typer.Typer(
    cls=LazyGroup,
    help="Run containers as jobs on the workers of a SwarmSync.",
    epilog=examples(
        "consumer run alpine:3.20 echo hello",
        "consumer job create -f job.yaml",
        "consumer ps --state failed --since 1d",
        "consumer job logs -f last",
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"consumer {version('swarmsync')}")
        raise typer.Exit


@app.callback()
def consumer(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options that stand before any command."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # whoever started us closed it
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w"))  # noqa: SIM115 until we end
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no crash
    try:
        command = typer.main.get_command(app)
        quicken(command)
        command(arguments, prog_name="consumer")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        # docker run answers 125 to its own usage errors, because 2 could be the container's
        return 125 if code == 2 and arguments[:1] == ["run"] else code
    except Exception as error:
        from cli import exits
        from swarmsync.errors import SwarmError

        if isinstance(error, UnicodeEncodeError):  # an argument may be any bytes; in a request there is only text
            exits.say(f"{str(error.object)[:80]!a} is not UTF-8 text, and cannot be sent to Core; write it as UTF-8")
            return exits.SWARMSYNC_FAULT if arguments[:1] == ["run"] else exits.USAGE
        if not isinstance(error, SwarmError):
            if arguments[:1] != ["run"]:
                raise
            import traceback

            traceback.print_exc()
            return exits.SWARMSYNC_FAULT  # any other code could be the container's
        exits.report(error)
        return exits.management_code(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
