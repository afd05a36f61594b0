"""A worker as Core knows it: what it offers, and whether it may take work."""

from typing import Annotated

from msgspec import Meta, Struct, field

from swarmsync.model.bounds import Word
from swarmsync.model.lifecycle import Eligibility, Liveness
from swarmsync.model.resources import Need


class WorkerOffer(Struct, frozen=True):
    """What a worker says of itself when it joins."""

    name: Word
    capacity: Need
    labels: Annotated[dict[Word, Word], Meta(max_length=64)] = field(default_factory=dict)
    runtime: Word = "docker"
    version: Word = ""
    machine: Word = ""  # tells two machines that use one name apart


class WorkerView(Struct):
    """A worker as the Scheduler sees it: the part of the offer that placement reads, and its standing."""

    worker_id: int
    name: str
    capacity: Need
    labels: dict[str, str] = field(default_factory=dict)
    liveness: Liveness = Liveness.READY
    eligibility: Eligibility = Eligibility.OPEN
    images: tuple[str, ...] = ()  # those that its machine has, as jobs name them
    runtime: str = "docker"

    @property
    def assignable(self) -> bool:
        return self.liveness is Liveness.READY and self.eligibility is Eligibility.OPEN
