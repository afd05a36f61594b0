"""The one table of transitions makes sense, and the guards and writes of the database agree with it."""

import re
from itertools import product

import pytest

from swarmsync.model.lifecycle import (
    ACTIVE,
    FINAL,
    PLACED,
    STATE_GROUPS,
    TRANSITIONS,
    WAITING,
    Actor,
    IllegalTransition,
    JobState,
    WaitReason,
    advance,
    sources,
)
from swarmsync.store.queries import sql

EDGES = {edge for edges in TRANSITIONS.values() for edge in edges}


def reachable(start):
    seen, ahead = set(), {start}
    while ahead:
        seen |= ahead
        ahead = {target for source, target in EDGES if source in ahead} - seen
    return seen


def test_every_state_is_waiting_placed_or_final_and_only_one_of_them():
    assert sorted([*WAITING, *PLACED, *FINAL]) == sorted(JobState)
    assert ACTIVE == WAITING + PLACED
    assert STATE_GROUPS == {"waiting": WAITING, "active": ACTIVE, "finished": FINAL}


@pytest.mark.parametrize("state", FINAL)
def test_a_final_state_never_changes(state):
    assert not [target for source, target in EDGES if source is state]


@pytest.mark.parametrize("state", ACTIVE)
def test_every_other_state_has_a_way_to_an_end(state):
    assert reachable(state) & set(FINAL)


@pytest.mark.parametrize("state", ACTIVE)
def test_a_person_can_end_or_stop_a_job_in_any_state(state):
    targets = {target for source, target in TRANSITIONS[Actor.API] if source is state}
    assert targets & {JobState.CANCELLED, JobState.STOPPING} or state is JobState.STOPPING


def test_every_state_can_come_about():
    born = {JobState.QUEUED, JobState.SCHEDULED, JobState.HELD, JobState.BLOCKED}
    assert set().union(*(reachable(state) for state in born)) == set(JobState)


def test_no_state_changes_into_itself():
    assert not [edge for edge in EDGES if edge[0] is edge[1]]


def test_only_the_dispatcher_makes_jobs_start_and_only_from_the_queue():
    assert {actor for actor in Actor if sources(JobState.STARTING, by=actor)} == {Actor.DISPATCHER}
    assert sources(JobState.STARTING, by=Actor.DISPATCHER) == ["queued"]


def test_only_the_harvester_gives_verdicts_of_work_that_began():
    for actor, edges in TRANSITIONS.items():
        ends = {edge for edge in edges if edge[0] in PLACED and edge[1] in FINAL}
        assert bool(ends) == (actor is Actor.HARVESTER)


@pytest.mark.parametrize(("source", "target"), list(product(JobState, JobState)))
@pytest.mark.parametrize("actor", Actor)
def test_advance_and_sources_say_the_same(actor, source, target):
    if source.value in sources(target, by=actor):
        assert advance(source, target, by=actor) is target
    else:
        with pytest.raises(IllegalTransition, match=f"{actor} may not change a job from {source} to {target}"):
            advance(source, target, by=actor)


def test_sources_are_sorted_words_for_a_guard():
    assert sources(JobState.STOPPING, by=Actor.API) == ["running", "starting"]
    assert sources(JobState.QUEUED, by=Actor.DISPATCHER) == []


@pytest.mark.parametrize("target", ["SUCCEEDED", "FAILED", "TIMED_OUT", "CANCELLED", "QUEUED", "SCHEDULED"])
def test_every_verdict_is_allowed_from_every_state_that_the_guard_of_settle_lets_pass(target):
    """`store.jobs.settle` uses one guard for all verdicts: the placed sources of `failed`."""
    guard = {state for state in sources(JobState.FAILED, by=Actor.HARVESTER) if state in PLACED}
    assert guard == {state.value for state in PLACED}
    assert guard <= set(sources(JobState[target], by=Actor.HARVESTER))


@pytest.mark.parametrize("target", ["SUCCEEDED", "FAILED", "TIMED_OUT", "CANCELLED"])
def test_every_verdict_of_an_array_is_allowed_from_every_state_of_its_guard(target):
    assert sources(JobState[target], by=Actor.HARVESTER)
    assert set(sources(JobState.FAILED, by=Actor.HARVESTER)) <= set(sources(JobState[target], by=Actor.HARVESTER))
    assert f"'{target.lower()}'" in sql("arrays_done")


@pytest.mark.parametrize(
    ("query", "actor", "target"),
    [
        ("dispatch", Actor.DISPATCHER, "starting"),
        ("due", Actor.HIBERNATOR, "queued"),
        ("expire", Actor.HIBERNATOR, "expired"),
    ],
)
def test_what_a_query_writes_is_what_its_guard_is_made_for(query, actor, target):
    written = re.search(r"SET state = '(\w+)'", sql(query))[1]
    assert written == target
    assert sources(JobState(target), by=actor)


def test_the_waiting_reasons_stand_in_the_documented_order():
    order = list(WaitReason)
    assert order.index(WaitReason.HELD) == 0
    assert (
        order.index(WaitReason.UNSATISFIABLE) < order.index(WaitReason.NO_WORKERS) < order.index(WaitReason.RESOURCES)
    )
    assert order[-1] is WaitReason.EVALUATING
