"""`job from-docker` and `job from-compose`: what people run today as a job's spec."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import exits
from cli.bundles import examples
from cli.output import emit, to_json, to_yaml

if TYPE_CHECKING:
    from cli.docker_lines import Converted

app = typer.Typer()
Line = Annotated[list[str], typer.Argument(metavar="LINE", help="The line, quoted or as it is.")]
Output = Annotated[str, typer.Option("-o", "--output", help="yaml or json.")]
_OWN = {"allow_interspersed_args": False, "ignore_unknown_options": True}
DOCKER_EXAMPLES = examples(
    "consumer job from-docker 'docker run --rm -e A=1 -m 512m alpine:3.20 env'",
    "consumer job from-docker docker run --cpus 2 alpine:3.20 date | consumer job create -f -",
)
COMPOSE_EXAMPLES = examples(
    "consumer job from-compose compose.yaml report",
    "consumer job from-compose compose.yaml report > report.yaml",
)


@app.command("from-docker", epilog=DOCKER_EXAMPLES, context_settings=_OWN)
def from_docker(line: Line, output: Output = "yaml") -> None:
    """Print the spec of a docker run line; needs no Core.

    Flags that a job cannot honour are named on stderr, each with its reason, and the exit code is then 1.
    """
    from cli.docker_lines import convert

    _show(convert(line[0] if len(line) == 1 else line, os.environ, _read), output)


@app.command("from-compose", epilog=COMPOSE_EXAMPLES)
def from_compose(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The Compose file; - is stdin.")],
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="The service.")],
    output: Output = "yaml",
) -> None:
    """Print the spec of a service of a Compose file; needs no Core.

    Variables are those of the environment and of a file .env beside the Compose file. Keys that a job cannot honour are
    named on stderr, each with its reason, and the exit code is then 1.
    """
    import yaml

    from cli.compose_files import convert
    from swarmsync.errors import RequestError

    folder = Path(file).parent if file != "-" else Path()
    try:
        document = yaml.safe_load(sys.stdin.read() if file == "-" else _read(file))
    except RecursionError:
        raise RequestError(f"{file} is nested too deeply to be a Compose file") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:  # all that the loader raises for a value
        raise RequestError(f"{file} is no YAML: {error}") from None
    environ = {**_variables(folder / ".env"), **os.environ}
    _show(convert(document, service, environ, lambda path: _read(str(folder / path))), output)


def _show(found: "Converted", output: str) -> None:
    emit(to_json(found.spec) if output == "json" else to_yaml(found.spec))
    for part, reason in found.refused:
        exits.say(f"cannot honour {part}" + (f": {reason}" if reason else ""))
    if found.refused:
        raise typer.Exit(exits.ANSWER_IS_NO)


def _variables(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    lines = (line.strip() for line in _read(str(path)).splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}


def _read(path: str) -> str:
    from swarmsync.errors import RequestError

    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"cannot read {path}: {error}") from None
