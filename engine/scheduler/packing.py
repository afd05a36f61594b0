"""Which worker a job leaves in the best state: what is left there should stay useful for others."""

from typing import Final, Protocol

from swarmsync.model.resources import Need

_GPU_WEIGHT: Final = 1_000_000  # a worker with free GPUs is the last choice for work without


class Room(Protocol):
    cpus_milli: int
    memory_bytes: int
    gpus: int


def spare(room: Room, _need: Need) -> int:
    """Best fit takes the worker with the least left: a core weighs as much as 2 GiB."""
    return room.cpus_milli + (room.memory_bytes >> 21) + room.gpus * _GPU_WEIGHT
