"""Whatever the events say, the parts of a job's time add up to all of it."""

from hypothesis import given
from hypothesis import strategies as st

from swarmsync.model.ledger import Attempt, Event, LineReason, Part, Phase, ledger
from swarmsync.model.lifecycle import JobState, WaitReason

P = Phase
S = 1_000_000

moments = st.integers(-5 * S, 90 * S)
events = st.builds(
    Event,
    moments,
    st.sampled_from([state.value for state in JobState]),
    st.sampled_from(["", *(reason.value for reason in WaitReason)]),
    st.integers(0, 4),
)
reasons = st.lists(
    st.builds(LineReason, moments, st.sampled_from(["", *(reason.value for reason in WaitReason)])), max_size=8
).map(lambda found: sorted(found, key=lambda entry: entry.since_us))
lengths = st.integers(-S, 60 * S)
attempts = st.builds(Attempt, st.none() | moments, st.none() | lengths, lengths, lengths, lengths, lengths)


@given(
    st.integers(0, 40 * S),
    st.integers(0, 90 * S),
    st.lists(events, max_size=12),
    reasons,
    st.dictionaries(st.integers(0, 4), attempts, max_size=5),
)
def test_the_parts_add_up_to_the_whole_whatever_is_missing_or_wrong(begin_us, end_us, told, line, known):
    parts = ledger(begin_us, end_us, told, line, known)
    assert sum(part.micros for part in parts) == max(0, end_us - begin_us)
    assert all(part.micros > 0 for part in parts)
    assert len({(part.phase, part.reason) for part in parts}) == len(parts)


def seconds(*parts: tuple[Phase, str, float]) -> list[Part]:
    return [Part(phase, reason, round(length * S)) for phase, reason, length in parts]


def test_a_job_that_nobody_looked_at_is_evaluated_all_the_time():
    assert ledger(0, 2 * S, []) == seconds((P.EVALUATING, "Evaluating", 2))


def test_a_job_of_no_time_has_no_parts():
    assert ledger(5, 5, [Event(5, "queued"), Event(5, "cancelled")]) == []


def test_a_life_with_everything_in_it():
    told = [
        Event(0, "held", "Held"),
        Event(2 * S, "scheduled", "StartTime"),
        Event(5 * S, "blocked", "Dependency"),
        Event(6 * S, "queued"),
        Event(20 * S, "starting", "", 1),
        Event(24 * S, "running", "", 1),
        Event(30 * S, "stopping", "CancelledByUser", 1),
        Event(34 * S, "cancelled", "CancelledByUser", 1),
    ]
    line = [
        LineReason(-9 * S, "NoWorkers"),
        LineReason(7 * S, "UserQuota"),
        LineReason(10 * S, "Resources"),
        LineReason(19 * S, ""),
    ]
    known = {1: Attempt(started_us=24 * S, ran_us=9 * S, pull_us=2 * S, start_us=S)}
    assert ledger(0, 34 * S, told, line, known) == seconds(
        (P.HELD, "Held", 2),
        (P.SCHEDULED, "StartTime", 3),
        (P.DEPENDENCY, "Dependency", 1),
        (P.RESOURCES, "NoWorkers", 1),
        (P.LIMITS, "UserQuota", 3),
        (P.RESOURCES, "Resources", 9),
        (P.EVALUATING, "Evaluating", 1),
        (P.PLACING, "", 1),
        (P.PULL, "", 2),
        (P.START, "", 1),
        (P.RUN, "", 6),
        (P.STOP, "", 3),
        (P.HARVEST, "", 1),
    )


def test_attempts_and_the_pauses_between_them_are_added_up():
    told = [
        Event(0, "queued"),
        Event(1 * S, "starting", "", 1),
        Event(2 * S, "running", "", 1),
        Event(5 * S, "scheduled", "RetryBackoff", 1),
        Event(15 * S, "queued", "", 1),
        Event(16 * S, "starting", "", 2),
        Event(17 * S, "running", "", 2),
        Event(20 * S, "failed", "ExitCode", 2),
    ]
    known = {1: Attempt(2 * S, 3 * S), 2: Attempt(17 * S, 3 * S)}
    assert ledger(0, 20 * S, told, (), known) == seconds(
        (P.EVALUATING, "Evaluating", 2), (P.PLACING, "", 2), (P.RUN, "", 6), (P.BACKOFF, "RetryBackoff", 10)
    )


def test_the_workers_own_stop_counts_although_core_never_asked_for_it():
    told = [Event(0, "starting", "", 1), Event(1 * S, "running", "", 1), Event(9 * S, "timed_out", "Timeout", 1)]
    known = {1: Attempt(1 * S, 7 * S, stop_us=2 * S)}
    assert ledger(0, 9 * S, told, (), known) == seconds(
        (P.PLACING, "", 1), (P.RUN, "", 5), (P.STOP, "", 2), (P.HARVEST, "", 1)
    )


def test_a_start_that_was_only_told_with_the_end_leaves_room_for_the_collecting():
    """The row's start was then reckoned back from the verdict, as if nothing had been done after the container's end."""
    told = [Event(0, "starting", "", 1), Event(10 * S, "succeeded", "Completed", 1)]
    known = {1: Attempt(4 * S, 6 * S, pull_us=S, collect_us=2 * S)}
    assert ledger(0, 10 * S, told, (), known) == seconds(
        (P.PLACING, "", 1), (P.PULL, "", 1), (P.RUN, "", 6), (P.HARVEST, "", 2)
    )


def test_what_never_started_was_prepared():
    told = [Event(0, "starting", "", 1), Event(3 * S, "failed", "ImageNotFound", 1)]
    assert ledger(0, 3 * S, told, (), {1: Attempt(pull_us=2 * S)}) == seconds((P.PLACING, "", 1), (P.PULL, "", 2))


def test_an_arrays_own_row_runs_while_its_members_do():
    told = [Event(0, "queued"), Event(1 * S, "running"), Event(4 * S, "succeeded")]
    assert ledger(0, 4 * S, told) == seconds((P.EVALUATING, "Evaluating", 1), (P.RUN, "", 3))


def test_clocks_that_disagree_cut_nothing_off():
    told = [Event(-2 * S, "queued"), Event(-1 * S, "starting", "", 1), Event(99 * S, "running", "", 1)]
    parts = ledger(0, 4 * S, told, (), {1: Attempt(started_us=500 * S)})
    assert sum(part.micros for part in parts) == 4 * S
