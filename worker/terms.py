"""What a worker must know of an assignment until its end, and how it is kept with the container. Pure."""

from functools import lru_cache
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from swarmsync.model.fields import Size
from swarmsync.model.files import Output
from swarmsync.model.resources import Need
from swarmsync.model.spec import JobSpec, need
from swarmsync.protocol.messages import RunJob

#: Grace a container gets on a worker that does not know its spec any more.
GRACE_UNKNOWN_MS: Final = 10_000


#: An output's path, name and limit in bytes.
Kept: TypeAlias = tuple[str, str, int]


class Terms(Struct, frozen=True):
    """What a worker must know to carry an assignment to its end; kept with the container for a later agent."""

    need: Need
    grace_ms: int = GRACE_UNKNOWN_MS
    stop_signal: str = "SIGTERM"
    timeout_ms: int | None = None
    log_max: int = 50 << 20
    log_fail: bool = False
    outputs: tuple[Kept, ...] = ()

    def wanted_outputs(self) -> tuple[Output, ...]:
        return tuple([Output(path, name, Size(most)) for path, name, most in self.outputs])


def terms_of(spec: JobSpec, order: RunJob) -> Terms:
    wanted = need(spec)
    if order.memory_bytes > wanted.memory_bytes:
        wanted = msgspec.structs.replace(wanted, memory_bytes=order.memory_bytes)
    return Terms(
        wanted,
        int(spec.stop.grace),
        spec.stop.signal,
        None if spec.timeout is None else int(spec.timeout),
        int(spec.logs.max),
        spec.logs.on_limit == "fail",
        tuple([(output.path, output.name, int(output.max)) for output in spec.outputs]),
    )


@lru_cache(maxsize=256)  # a flood of jobs has few terms
def write_terms(terms: Terms) -> str:
    return msgspec.json.encode(terms).decode()


def read_terms(note: str) -> Terms:
    """Read what `write_terms` wrote; a container of an older version gets careful defaults."""
    try:
        return msgspec.json.decode(note, type=Terms)
    except msgspec.DecodeError:
        return Terms(Need())
