"""Arguments that many commands take."""

from typing import Annotated

import typer

from cli.completions import jobs, workers

_HELP = "Id, beginning of one, last, @name, or member JOB[7]."
OneJob = Annotated[str, typer.Argument(metavar="JOB", help=_HELP, autocompletion=jobs)]
Jobs = Annotated[list[str], typer.Argument(metavar="JOB", help=_HELP, autocompletion=jobs)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name, id, or beginning of an id.", autocompletion=workers)]
SomeJobs = Annotated[list[str] | None, typer.Argument(metavar="JOB", help=_HELP, autocompletion=jobs)]
