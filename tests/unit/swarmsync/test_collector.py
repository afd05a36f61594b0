import gc
import weakref

import pytest

from swarmsync import collector


class Ring:
    def __init__(self):
        self.own = self


@pytest.fixture
def relaxed():
    before = gc.get_threshold()
    collector.relax()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("relaxed")
def test_what_exists_is_left_alone_and_new_cycles_are_still_found():
    assert gc.get_threshold() == collector.THRESHOLDS
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


@pytest.mark.usefixtures("relaxed")
def test_cycles_that_are_new_go_at_the_next_tidying():
    gone = [weakref.ref(Ring()) for _ in range(100)]
    kept = Ring()
    collector.tidy()
    assert not any(each() for each in gone)
    assert kept.own is kept


@pytest.mark.usefixtures("relaxed")
def test_cycles_that_were_in_use_for_a_while_go_in_the_end():
    """A Scheduler that began anew left its old core behind: for hours, with all that had waited in it."""
    used = Ring()
    gone = weakref.ref(used)
    for _ in range(3):
        collector.tidy()
    del used
    for _ in range(collector.TIDIED_ALL):
        collector.tidy()
    assert gone() is None


def test_what_exists_before_a_fork_is_not_touched_in_the_child():
    before = gc.get_freeze_count()
    kept = [[number] for number in range(1_000)]
    try:
        collector.share()
        assert gc.get_freeze_count() >= before + len(kept)
        assert not any(entry is kept for entry in gc.get_objects())
    finally:
        gc.unfreeze()
