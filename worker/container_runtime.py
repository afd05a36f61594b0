"""What a worker needs of the thing that runs containers. Values and one protocol; no I/O.

Three implementations: `docker_runtime.py` (the real one), `process_runtime.py` (plain processes, for development) and
`simulated_runtime.py` (no processes at all); `tests/contract/test_container_runtime.py` holds them to one behaviour.
The runtime is the worker's memory: after a crash of the agent, `list` says what is true and calls may be repeated.
"""

import builtins
import signal
from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from typing import Any, Final, Literal, Protocol, TypeAlias

from msgspec import Struct

from swarmsync.model.lifecycle import EndReason

Stream: TypeAlias = Literal["stdout", "stderr"]
#: `Exit.exit_code` where no code is known: the container vanished before it could be asked.
NO_EXIT_CODE: Final = -1


class SecretFile(Struct, frozen=True):
    """A secret's value for one container: the file /run/secrets/NAME, or the variable `env` when that is set."""

    name: str
    value: bytes
    env: str | None = None

    @property
    def text(self) -> str | None:
        """The value as a variable can hold it; None for what is no text."""
        try:
            text = self.value.decode()
        except UnicodeDecodeError:
            return None
        return None if "\0" in text else text

    def __repr__(self) -> str:
        return f"SecretFile(name={self.name!r}, value=***, env={self.env!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("name", self.name), ("value", "***"), ("env", self.env)]


class RegistryAuth(Struct, frozen=True):
    """Credentials of one image pull."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"RegistryAuth(username={self.username!r}, password=***)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("username", self.username), ("password", "***")]


class Mount(Struct, frozen=True):
    """`source` is a volume's name or a path of the worker's machine; empty for tmpfs. `size_bytes` limits a tmpfs."""

    kind: Literal["volume", "tmpfs", "bind"]
    source: str
    target: str
    read_only: bool = False
    size_bytes: int | None = None


class ContainerPlan(Struct, frozen=True, gc=False):
    """One assignment's container, complete: nothing else decides how it runs."""

    job: str
    attempt: int
    fence: int
    session: str
    image: str
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...] | None
    environment: dict[str, str]
    working_dir: str | None
    user: str | None
    init: bool
    mounts: tuple[Mount, ...]
    network: str  # none | bridge | NAME
    cpus_milli: int
    memory_bytes: int
    pids_max: int
    gpus: int
    disk_bytes: int | None
    stop_signal: str
    stop_grace_s: float
    strict: bool = False
    read_only_root: bool = False
    capabilities: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    privileged: bool = False
    secrets: tuple[SecretFile, ...] = ()
    registry_auth: RegistryAuth | None = None
    note: str = ""  # for the agent that comes after this one: kept with the container, shown by `list`
    user_id: int = 0  # whose job it is; 0: not known

    @property
    def name(self) -> str:
        return f"swarmsync-{self.job}-{self.attempt}"


class Seen(StrEnum):
    """What a runtime shows of a container. ABSENT is for callers that looked for one and found none."""

    ABSENT = "absent"
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


class Observed(Struct, frozen=True):
    """One container of ours as `list` finds it; times are Unix seconds, `exit_code` is None until it has exited."""

    container_id: str
    job: str
    attempt: int
    fence: int
    session: str
    state: Seen
    exit_code: int | None = None
    oom_killed: bool = False
    started_at: float | None = None
    finished_at: float | None = None
    error: str = ""
    note: str = ""


class LogPiece(Struct, frozen=True):
    """Consecutive bytes of one stream; `at` is when the first of them was written (Unix seconds)."""

    stream: Stream
    data: bytes
    at: float


class Exit(Struct, frozen=True, gc=False):
    """How a container ended. `started_at` None: it never ran. `removed`: it vanished, and the rest may be unknown."""

    exit_code: int
    oom_killed: bool = False
    started_at: float | None = None
    finished_at: float | None = None
    error: str = ""
    removed: bool = False


class ImageRef(Struct, frozen=True, gc=False):
    """A local image: `reference` is its digest where a registry gave it one, else its id."""

    reference: str
    image_id: str
    size_bytes: int


class Usage(Struct, frozen=True, gc=False):
    """What a container has used so far; None where the runtime cannot know."""

    memory_peak_bytes: int | None
    cpu_s: float | None


class RuntimeInfo(Struct, frozen=True):
    """The machine as the runtime sees it; `warnings` are sentences for the administrator."""

    version: str
    cpus_milli: int
    memory_bytes: int
    gpus: int
    warnings: tuple[str, ...] = ()
    gives_gpus: bool = False  # containers can be given some
    gpu_model: str = ""  # as constraints name it; empty where there are several kinds


class RuntimeProblem(Exception):
    """A call failed. The message is a sentence for the user, `reason` is what the assignment ends with.

    `exit_code` is 126 or 127 when a command could not be started, as in `docker run`. `retryable`: the cause is not in
    the job, so the same call may succeed later or on another worker.
    """

    def __init__(
        self, reason: EndReason, message: str, *, exit_code: int | None = None, retryable: bool = False
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.exit_code = exit_code
        self.retryable = retryable


def signal_number(name: str) -> int:
    """Read `SIGTERM`, `TERM` or `15`. Raises ValueError with a sentence for the user."""
    if name.isdigit():
        return int(name)
    try:
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"].value
    except KeyError:
        raise ValueError(f"{name!r} is not the name of a signal") from None


class ContainerRuntime(Protocol):
    """Every call but `open` and `close` may be repeated, and cancelled; all raise RuntimeProblem, nothing else."""

    name: str

    async def open(self) -> RuntimeInfo:
        """Reach the engine, or raise RuntimeProblem when it does not answer. Called before all else."""
        ...

    async def close(self) -> None:
        """Let go of connections and timers. Containers go on."""
        ...

    async def ensure_image(self, image: str, auth: RegistryAuth | None = None) -> ImageRef:
        """Return the local image, pulling it when absent. Not found and unauthorised fail at once."""
        ...

    async def create(self, plan: ContainerPlan) -> str:
        """Return the id of the new container, or of the one that has this name and fence already."""
        ...

    async def start(self, container_id: str) -> None:
        """Begin. Does nothing when it runs or has run: a container never starts twice."""
        ...

    async def wait(self, container_id: str) -> Exit:
        """Return once it does not run (any more); at once when it was never started."""
        ...

    def logs(self, container_id: str, *, skip: Mapping[str, int]) -> AsyncIterator[LogPiece]:
        """Yield both streams from byte `skip[stream]` (default 0) on, every byte once, until the container ends.

        Whole lines come while it runs; Docker holds back a line without its newline until it has 16 KiB or the
        container ends. Ends silently when the container was removed.
        """
        ...

    async def stop(self, container_id: str, signal: str, grace_s: float) -> None:
        """Send `signal`, and SIGKILL if it still runs `grace_s` seconds later. Returns when it has stopped."""
        ...

    async def kill(self, container_id: str) -> None:
        """Send SIGKILL; `wait` tells when it has worked."""
        ...

    async def remove(self, container_id: str) -> None:
        """Kill if need be, and delete with output and anonymous volumes. Fine when it is gone already."""
        ...

    def archive(self, container_id: str, path: str) -> AsyncIterator[bytes]:
        """Yield a tar of a file or a directory of a container that has ended; nothing when there is no such path.

        Names begin with the last part of `path`, as in the Docker API. Not from a tmpfs: that ends with the container.
        """
        ...

    async def usage(self, container_id: str) -> Usage | None:
        """What it has used; None where that is not known. Docker forgets it at the end: ask while it runs."""
        ...

    async def written(self, container_id: str) -> int | None:
        """Bytes it has written into its own file system; None where that is unknown, or limited by the storage."""
        ...

    async def images(self) -> tuple[str, ...]:
        """The names of the images that are here, sorted, as jobs write them; bounded."""
        ...

    async def trim_images(self, budget: int) -> builtins.list[str]:
        """Remove what was pulled here beyond `budget` bytes, least recently used first; return the ids that went."""
        ...

    async def list(self) -> builtins.list[Observed]:
        """Every container of ours, stopped ones too, in no order."""
        ...
