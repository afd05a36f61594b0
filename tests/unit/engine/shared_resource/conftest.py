"""A private instance name per test, and whatever it left in /dev/shm removed afterwards."""

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from engine.shared_resource.ring import Ring
from engine.shared_resource.segment import Segment, unlink_leftovers

_numbers = itertools.count()


@pytest.fixture
def instance() -> Iterator[str]:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    yield name
    unlink_leftovers(name)


@pytest.fixture
def make_ring(instance: str) -> Callable[[int], Ring]:
    def make(capacity_bytes: int = 4096) -> Ring:
        return Ring.create(Segment.create(instance, "ring", Ring.segment_bytes(capacity_bytes)), capacity_bytes)

    return make
