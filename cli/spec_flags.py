"""The flags of `run` and `job create`, and the spec that they make. Core checks the values."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import Struct

Many = list[str] | None
_Option = typer.Option


class SpecFlags(Struct, frozen=True):
    """Names and short forms are those of `docker run` where it has them."""

    env: Annotated[Many, _Option("-e", "--env", metavar="NAME[=VALUE]", help="A variable; without value, ours.")] = None
    env_file: Annotated[Many, _Option("--env-file", metavar="FILE", help="Variables, one NAME=VALUE a line.")] = None
    volume: Annotated[Many, _Option("-v", "--volume", metavar="NAME:/PATH[:ro]", help="Mount a volume.")] = None
    workdir: Annotated[str, _Option("-w", "--workdir", help="Working directory in the container.")] = ""
    user: Annotated[str, _Option("-u", "--user", help="User in the container: name or uid[:gid].")] = ""
    cpus: Annotated[float | None, _Option("--cpus", help="CPUs, requested and enforced (1).")] = None
    memory: Annotated[str, _Option("-m", "--memory", help="Memory, requested and enforced (512MiB).")] = ""
    pids: Annotated[int | None, _Option("--pids", "--pids-limit", help="Processes at most (1024).")] = None
    gpus: Annotated[int | None, _Option("--gpus", help="GPUs.")] = None
    name: Annotated[str, _Option("--name", help="A name for people; need not be unique.")] = ""
    network: Annotated[str, _Option("--network", help="none, bridge, or a network of the workers.")] = ""
    timeout: Annotated[str, _Option("--timeout", help="Stop an attempt that runs longer: 90s, 15m, 2h.")] = ""
    retries: Annotated[int | None, _Option("--retries", min=0, help="More attempts after a failure (0).")] = None
    priority: Annotated[int | None, _Option("--priority", help="0-100, higher first (50).")] = None
    queue: Annotated[str, _Option("--queue", help="The queue to wait in.")] = ""
    label: Annotated[Many, _Option("-l", "--label", metavar="KEY=VALUE", help="A label.")] = None
    constraint: Annotated[Many, _Option("--constraint", help='As "worker.label.zone == eu".')] = None
    entrypoint: Annotated[str | None, _Option("--entrypoint", help="Program to run in place of the image's.")] = None
    stop_signal: Annotated[str, _Option("--stop-signal", help="What asks the container to end (SIGTERM).")] = ""
    stop_grace: Annotated[str, _Option("--stop-grace", help="From that signal to SIGKILL (10s).")] = ""
    no_init: Annotated[bool, _Option("--no-init", help="Run the command as process 1.")] = False

    def document(self) -> dict[str, Any]:
        """Return the part of a spec that was given by flags; what is absent is Core's default."""
        environment = {**_from_files(self.env_file or []), **_environment(self.env or [])}
        document: dict[str, Any] = {
            "name": self.name,
            "entrypoint": None if self.entrypoint is None else [self.entrypoint] if self.entrypoint else [],
            "environment": environment,
            "working_dir": self.workdir,
            "user": self.user,
            "init": False if self.no_init else None,
            "volumes": list(self.volume or []),
            "network": self.network,
            "resources": _given({"cpus": self.cpus, "memory": self.memory, "pids": self.pids, "gpus": self.gpus}),
            "queue": self.queue,
            "priority": self.priority,
            "labels": pairs(self.label or [], "--label"),
            "constraints": list(self.constraint or []),
            "timeout": self.timeout,
            "stop": _given({"signal": self.stop_signal, "grace": self.stop_grace}),
            "retry": {} if self.retries is None else {"attempts": self.retries + 1},
        }
        entrypoint = document.pop("entrypoint")
        return _given(document) | ({} if entrypoint is None else {"entrypoint": entrypoint})


class SubmitFlags(Struct, frozen=True):
    """What `job create` can say beyond `run`."""

    array: Annotated[str, _Option("--array", metavar="0-19", help="One job per index.")] = ""
    run_at: Annotated[str, _Option("--run-at", metavar="TIME", help="Start not before: 2026-11-24T02:00:00+01:00.")] = (
        ""
    )
    delay: Annotated[str, _Option("--delay", help="Start not before this has passed: 15m.")] = ""
    after: Annotated[Many, _Option("--after", metavar="JOB[:WHEN]", help="succeeded, finished or failed.")] = None

    def document(self) -> dict[str, Any]:
        return _given(
            {
                "array": {"range": self.array} if self.array else {},
                "run_at": self.run_at,
                "delay": self.delay,
                "after": [_dependency(text) for text in self.after or []],
            }
        )


def image_document(image: str, command: Sequence[str] | None) -> dict[str, Any]:
    return {"image": image, **({"command": list(command)} if command else {})}


def pairs(texts: Sequence[str], flag: str) -> dict[str, str]:
    """Read KEY=VALUE; a key alone has the empty value, as in Docker."""
    result = {}
    for text in texts:
        key, _, value = text.partition("=")
        if not key:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=flag)
        result[key] = value
    return result


def _given(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value not in (None, "", {}, [])}


def _environment(texts: Sequence[str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Read NAME=VALUE; a NAME alone is passed on from our own environment when it is set there, as in Docker."""
    result = {}
    for text in texts:
        name, has_value, value = text.partition("=")
        if not name:
            raise typer.BadParameter(f"{text!r} has no name; write NAME=VALUE", param_hint="--env")
        if has_value:
            result[name] = value
        elif name in environ:
            result[name] = environ[name]
    return result


def _from_files(files: Sequence[str]) -> dict[str, str]:
    result = {}
    for file in files:
        try:
            lines = Path(file).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"cannot read {file}: {error}", param_hint="--env-file") from None
        result.update(_environment([line.lstrip() for line in lines if line.strip() and line.lstrip()[0] != "#"]))
    return result


def _dependency(text: str) -> dict[str, str]:
    job, _, when = text.partition(":")
    return {"job": job, "when": when} if when else {"job": job}
