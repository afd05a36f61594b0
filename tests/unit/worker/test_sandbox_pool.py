"""Which sandbox serves whom, and when one is made or given up."""

import pytest

from worker.sandbox_pool import DEMAND_MS, JOIN_MS, MAKING_MAX, SANDBOXES_MAX, Sandbox, SandboxPool

ANN, BOB = 1, 2


def sandbox(name, user_id=ANN, made_ms=0):
    return Sandbox(name, user_id, 100, (1, 0), made_ms)


def made(pool, entry):
    """As if two containers had asked for it."""
    pool._making.append(entry.user_id)
    pool.made(entry.user_id, entry)
    return entry


@pytest.fixture
def pool():
    return SandboxPool()


def test_one_serves_one_container_at_a_time_and_one_user_only(pool):
    own = made(pool, sandbox("a"))
    assert pool.take(BOB, 0) is None
    assert pool.take(ANN, 0) is own
    assert pool.take(ANN, 0) is None
    assert pool.left(own, clean=True)
    assert pool.take(BOB, 0) is None
    assert pool.take(ANN, 0) is own


def test_one_in_which_something_was_left_serves_nobody_any_more(pool):
    own = made(pool, sandbox("a"))
    assert pool.take(ANN, 0) is own
    assert not pool.left(own, clean=False)
    assert pool.take(ANN, 0) is None


@pytest.mark.parametrize("busy", [False, True])
def test_one_that_will_end_soon_is_not_joined(pool, busy):
    own = made(pool, sandbox("a", made_ms=5))
    if busy:
        assert pool.take(ANN, 5) is own
    assert pool.take(ANN, 5 + JOIN_MS) is None
    assert not pool.left(own, clean=True)


@pytest.mark.parametrize(("pause_ms", "wanted"), [(DEMAND_MS, True), (DEMAND_MS + 1, False)])
def test_a_single_container_is_worth_none_and_two_within_a_time_are(pool, pause_ms, wanted):
    assert pool.missed(ANN, 1, 0) == (False, [])
    assert pool.missed(BOB, 1, 0) == (False, []), "another's do not count"
    assert pool.missed(ANN, 1, pause_ms) == (wanted, [])


def test_there_are_no_more_than_containers_that_could_use_them(pool):
    pool.missed(ANN, 1, 0)
    assert pool.missed(ANN, 1, 1) == (True, [])
    assert pool.missed(ANN, 1, 2) == (False, []), "one is being made for the one that runs"
    assert pool.missed(ANN, 2, 3) == (True, [])


def test_few_are_made_at_a_time_and_a_failure_makes_room_for_another_try(pool):
    pool.missed(ANN, 9, 0)
    assert [pool.missed(ANN, 9, 1)[0] for _ in range(MAKING_MAX + 1)] == [True] * MAKING_MAX + [False]
    pool.made(ANN, None)
    assert pool.missed(ANN, 9, 2) == (True, [])


def test_when_there_are_enough_the_oldest_idle_one_goes_for_a_new_one(pool):
    for number in range(SANDBOXES_MAX):
        made(pool, sandbox(str(number), made_ms=number))
    assert pool.take(ANN, 0).container_id == "0"
    pool.missed(BOB, 1, 1)
    assert pool.missed(BOB, 1, 2) == (True, ["1"])
    assert len(pool.all) + 1 == SANDBOXES_MAX


def test_when_all_are_busy_none_goes(pool):
    for number in range(SANDBOXES_MAX):
        made(pool, sandbox(str(number)))
        pool.take(ANN, 0)
    pool.missed(BOB, 1, 1)
    assert pool.missed(BOB, 1, 2) == (False, [])
