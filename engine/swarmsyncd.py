"""`swarmsyncd`: the whole Core on this machine, its checks, and the worker program."""

import contextlib
import importlib.metadata
import os
import sys
import time
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Final, cast
from urllib.parse import quote

import msgspec
import typer
from typer.core import TyperGroup

from conf import settings as conf
from engine import data_lock
from engine.backup import commands as backups
from swarmsync.errors import ChecksumError, ConfigError, Conflict, SwarmError, Unavailable
from swarmsync.json_lines import json_line

EXIT_CONFIG = 3
#: As `consumer` ends: 1 the answer is no, 5 conflict, 6 a server is away.
EXITS: Final = {ChecksumError: 1, Conflict: 5, Unavailable: 6}

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,  # they hold passwords
    help="SwarmSync Core. Without a command: start PostgreSQL, NATS, Valkey, the engine, the API and a local worker.",
)

DataDir = Annotated[Path | None, typer.Option(help="where this Core keeps everything (SWARMSYNC_DATA_DIR)")]
Config = Annotated[Path | None, typer.Option(help="a TOML file; see conf/swarmsync.toml for all keys")]


def main() -> None:
    """Entry point: an error is one sentence; 3 is the exit code of what the settings or the machine make impossible."""
    try:
        app()
    except SwarmError as problem:
        sys.stderr.write(f"swarmsyncd: {problem}\n")
        raise SystemExit(EXITS.get(type(problem), EXIT_CONFIG)) from None


@app.callback(invoke_without_command=True)
def core(
    context: typer.Context,
    data_dir: DataDir = None,
    config: Config = None,
    port: Annotated[int | None, typer.Option(help="port of the API on loopback")] = None,
    runtime: Annotated[str | None, typer.Option(help="auto, docker, process or simulated")] = None,
    worker: Annotated[bool | None, typer.Option("--worker/--no-worker", help="run a worker on this machine")] = None,
    version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False,
) -> None:
    if version:
        print(f"swarmsyncd {installed_version()}")
        raise typer.Exit
    if context.invoked_subcommand is not None:
        _hand_on(context, context.invoked_subcommand)
        return
    _run_core(
        conf.load(
            config,
            data_dir=str(data_dir) if data_dir else None,
            api__port=port,
            worker__runtime=runtime,
            worker__enabled=worker,
        )
    )


def _hand_on(context: typer.Context, name: str) -> None:
    """Let options that stand before a command count for it, where it does not have them itself.

    Raises BadParameter for those that the command does not know: what is said must not be dropped without a word.
    """
    command = cast("TyperGroup", context.command).commands[name]
    given = {key: value for key, value in context.params.items() if value is not None and key != "version"}
    unknown = given.keys() - {param.name for param in command.params}
    for param in context.command.params:
        if param.name in unknown:
            raise typer.BadParameter(f"swarmsyncd {name} does not take it", ctx=context, param_hint=param.opts[0])
    context.default_map = {name: given}


def _run_core(settings: conf.Settings) -> None:
    from engine.supervisor import Supervisor

    lock = data_lock.take(settings.data_path)
    instance = blake2b(str(settings.data_path).encode(), digest_size=6).hexdigest()
    settings = with_port(settings)

    as_json = settings.logs.format == "json"

    def say(line: str, level: str = "warning") -> None:
        text = json_line(time.time_ns() // 1_000_000, "swarmsyncd", level, line) if as_json else f"swarmsyncd: {line}"
        with contextlib.suppress(OSError):  # the disk of whoever keeps our lines is full; that must not end Core
            print(text, file=sys.stderr, flush=True)

    def ready() -> None:
        from engine.check import disk_low

        if low := disk_low(settings.data_path):
            say(low)
        scheme = "https" if settings.api.tls_cert else "http"
        up = f"SwarmSync {installed_version()} is up: {scheme}://{settings.api.bind}:{settings.api.port}"
        if as_json:
            say(up, "info")
            return
        print(up)
        print(f"  data and logs   {settings.data_path}")
        if settings.worker.enabled and settings.worker.runtime in ("auto", "docker"):
            from engine.check import check_docker

            fine, _, sentence = check_docker(settings)
            print(f"  worker          {'Docker, ' if fine else 'NO CONTAINERS: Docker '}{sentence}")
        print("  first job       consumer run IMAGE echo hello")
        print("  stop            Ctrl-C, or swarmsyncd stop", flush=True)

    try:
        Supervisor(settings, instance, say).run(ready)
    except KeyboardInterrupt:
        return
    finally:
        lock.close()


@app.command()
def stop(data_dir: DataDir = None, config: Config = None) -> None:
    """Stop the Core that uses this data directory, and wait until it is gone."""
    settings = conf.load(config, data_dir=str(data_dir) if data_dir else None)
    print("stopped" if data_lock.stop_holder(settings.data_path) else "no Core runs here")


@app.command()
def check(data_dir: DataDir = None, config: Config = None) -> None:
    """Check the configuration and everything that Core depends on, and say what to do."""
    from engine.check import run_checks

    settings = conf.load(config, data_dir=str(data_dir) if data_dir else None)
    raise typer.Exit(run_checks(settings))


@app.command()
def worker(
    nats: Annotated[str, typer.Option(help="NATS (SWARMSYNC_NATS_URL): nats://worker:PASSWORD@ADDRESS")] = "",
    token: Annotated[str, typer.Option(help="join token (SWARMSYNC_JOIN_TOKEN, or a file: _FILE)")] = "",
    name: Annotated[str, typer.Option(help="this worker's name; the machine's by default")] = "",
    runtime: Annotated[str | None, typer.Option(help="auto, docker, process or simulated")] = None,
    cpus: Annotated[float, typer.Option(help="CPUs offered; all by default")] = 0,
    memory: Annotated[str, typer.Option(help="memory offered, as in 8GiB; 90 % by default")] = "",
    gpus: Annotated[
        int | None, typer.Option(help="GPUs offered; those that nvidia-smi names by default", min=0)
    ] = None,
    reserve_cpus: Annotated[float, typer.Option(help="CPUs kept back for the machine", min=0)] = 0,
    reserve_memory: Annotated[str, typer.Option(help="memory kept back, as in 2GiB; 10 % by default")] = "",
    label: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, may be repeated")] = None,
    count: Annotated[int, typer.Option(help="how many workers (simulated runtime only)")] = 1,
    ca: Annotated[Path | None, typer.Option(help="certificate of the authority that Core's TLS is signed by")] = None,
    data_dir: DataDir = None,
) -> None:
    """Run only a worker."""
    labels = dict(entry.partition("=")[::2] for entry in label or [])
    settings = conf.load(None, data_dir=str(data_dir) if data_dir else None, worker__runtime=runtime)
    nats, token = nats or settings.nats.url, token or settings.workers.join_token
    if not nats:
        raise ConfigError("swarmsyncd worker needs --nats URL and --token JOIN, or SWARMSYNC_NATS_URL and _JOIN_TOKEN")
    if ca is not None:
        nats = f"{nats}?ca={quote(str(ca.absolute()), safe='/')}"
    own = msgspec.structs.replace(
        settings.worker,
        name=name or settings.worker.name,
        cpus=cpus or settings.worker.cpus,
        memory=memory or settings.worker.memory,
        gpus=settings.worker.gpus if gpus is None else gpus,
        reserve_cpus=reserve_cpus or settings.worker.reserve_cpus,
        reserve_memory=reserve_memory or settings.worker.reserve_memory,
        labels={**settings.worker.labels, **labels},
        simulated_count=count,
    )
    site = conf.WorkerSite(nats, token, str(settings.data_path / "worker"), own, token, log_format=settings.logs.format)
    # The worker is a program of its own; it is told everything through memory that only this user can read.
    descriptor = os.memfd_create("swarmsync-worker", 0)
    os.write(descriptor, msgspec.json.encode(site))
    os.execv(sys.executable, [sys.executable, "-m", "worker.program", f"/dev/fd/{descriptor}"])  # noqa: S606 our program


@app.command()
def certs(
    out: Annotated[Path, typer.Option(help="directory for ca.pem, ca.key, server.pem, server.key")],
    name: Annotated[list[str] | None, typer.Option(help="a name or address of Core, may be repeated")] = None,
) -> None:
    """Make a private authority, where there is none in the directory, and a certificate for Core."""
    from swarmsync import certificates

    certificate, key, authority = certificates.make(out, name or [])
    print(f'[api]\ntls_cert = "{certificate}"\ntls_key = "{key}"\ntls_ca = "{authority}"')
    print(f'[nats]\ntls_cert = "{certificate}"\ntls_key = "{key}"\ntls_ca = "{authority}"')


app.command()(backups.backup)
app.command()(backups.restore)
app.command()(backups.upgrade)


def installed_version() -> str:
    return importlib.metadata.version("swarmsync")


def with_port(settings: conf.Settings) -> conf.Settings:
    """Return the settings with the API's port, which is free; port 0 stands for any. Raises ConfigError."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.api.bind, settings.api.port))
            port = probe.getsockname()[1]
        except OSError as problem:
            raise ConfigError(
                f"{settings.api.bind}:{settings.api.port} cannot be used for the API ({problem.strerror});"
                " set api.port, SWARMSYNC_API_PORT or --port"
            ) from None
    return msgspec.structs.replace(settings, api=msgspec.structs.replace(settings.api, port=port))


if __name__ == "__main__":
    main()
