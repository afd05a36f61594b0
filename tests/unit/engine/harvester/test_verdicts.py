"""What an end means: every reason with every retry setting, as one table, and the bounds of the back-off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.harvester.verdicts import (
    ASKED_FOR,
    CANCELLED,
    INFRASTRUCTURE,
    End,
    Verdict,
    backoff_ms,
    decide,
    excluded,
    grown_memory,
)
from swarmsync.model.fields import Duration, Size
from swarmsync.model.lifecycle import FINAL, EndReason, JobState
from swarmsync.model.spec import Retry

R, S = EndReason, JobState
OWN = set(EndReason) - INFRASTRUCTURE - CANCELLED - {R.COMPLETED, R.DEADLINE_PASSED}
#: Own failures that a spec can ask to be tried again, and the word in `retry.on` for each.
RETRIED = {R.EXIT_CODE: "error", R.SIGNAL: "error", R.OOM_KILLED: "oom", R.TIMEOUT: "timeout"}
EVERYTHING = ("error", "oom", "timeout")


def judged(reason, *, tries=0, crashes=0, stop=None, exit_code=1, retry=None, crash_limit=5, chance=0.5):
    end = End(reason, "it ended", exit_code, tries, crashes, stop)
    return decide(end, retry or Retry(), crash_limit=crash_limit, chance=chance)


def patient(attempts=3, **more):
    return Retry(attempts, **{"on": EVERYTHING, **more})


@pytest.mark.parametrize("stop", [None, R.CANCELLED_BY_USER])
def test_success_is_success_whatever_else_was_wanted(stop):
    assert judged(R.COMPLETED, stop=stop, exit_code=0) == Verdict(S.SUCCEEDED, R.COMPLETED, "it ended")


@pytest.mark.parametrize("reason", sorted(CANCELLED))
def test_a_cancelled_job_is_cancelled_and_costs_nothing(reason):
    assert judged(reason, retry=patient()) == Verdict(S.CANCELLED, reason, "it ended")


@pytest.mark.parametrize("reason", sorted(set(EndReason) - CANCELLED - {R.COMPLETED}))
@pytest.mark.parametrize("stop", sorted(CANCELLED))
def test_who_cancels_a_job_never_sees_it_tried_again(reason, stop):
    verdict = judged(reason, stop=stop, retry=patient())
    assert (verdict.state, verdict.reason, verdict.delay_ms) == (S.CANCELLED, stop, 0)
    assert "it ended" in verdict.message


@pytest.mark.parametrize("reason", sorted(set(EndReason) - CANCELLED - {R.COMPLETED}))
def test_a_job_stopped_at_its_deadline_is_timed_out_and_not_tried_again(reason):
    verdict = judged(reason, stop=R.DEADLINE_PASSED, retry=patient())
    assert (verdict.state, verdict.reason) == (S.TIMED_OUT, R.DEADLINE_PASSED)
    assert judged(R.DEADLINE_PASSED, retry=patient()) == verdict


@pytest.mark.parametrize(
    ("memory_mib", "factor", "most_mib", "next_mib"),
    [(512, 1.5, None, 768), (512, 1.0, None, 512), (512, 1.5, 600, 600), (512, 2, 512, 512), (7, 1.1, None, 7)],
)
def test_memory_grows_by_the_factor_up_to_the_maximum(memory_mib, factor, most_mib, next_mib):
    retry = Retry(3, memory_factor=factor, memory_max=None if most_mib is None else Size(most_mib << 20))
    assert grown_memory(retry, memory_mib << 20) == next_mib << 20


@pytest.mark.parametrize("reason", sorted(OWN))
def test_without_retries_a_failure_of_the_job_is_final_and_keeps_its_reason(reason):
    final = S.TIMED_OUT if reason is R.TIMEOUT else S.FAILED
    assert judged(reason) == Verdict(final, reason, "it ended", tries=1)


@pytest.mark.parametrize("reason", sorted(OWN))
@pytest.mark.parametrize("on", [(), *((word,) for word in EVERYTHING), EVERYTHING])
def test_only_what_the_spec_names_is_tried_again(reason, on):
    verdict = judged(reason, retry=patient(on=on))
    assert verdict.tries == 1
    assert verdict.crashes == 0
    assert (verdict.state is S.SCHEDULED) == (RETRIED.get(reason) in on)
    assert (verdict.state in FINAL) == (RETRIED.get(reason) not in on)


@pytest.mark.parametrize(
    ("exit_code", "retried"),
    [(1, True), (2, False), (3, True), (63, True), (64, False), (70, False), (78, False), (79, True), (None, True)],
)
def test_exit_codes_that_the_spec_excludes_are_final(exit_code, retried):
    verdict = judged(R.EXIT_CODE, exit_code=exit_code, retry=patient(not_on_exit=(2, "64-78")))
    assert (verdict.state is S.SCHEDULED) == retried


def test_an_excluded_code_also_counts_when_a_signal_made_it():
    assert judged(R.SIGNAL, exit_code=137, retry=patient(not_on_exit=("130-140",))).state is S.FAILED


@pytest.mark.parametrize("reason", sorted(RETRIED))
def test_the_last_attempt_says_how_many_there_were(reason):
    assert judged(reason, tries=1, retry=patient()).state is S.SCHEDULED
    verdict = judged(reason, tries=2, retry=patient())
    assert (verdict.state, verdict.reason) == (S.TIMED_OUT if reason is R.TIMEOUT else S.FAILED, R.ATTEMPTS_EXHAUSTED)
    assert verdict.message == f"all 3 attempts failed; the last one: {reason}, it ended"


def test_a_retry_says_which_attempt_failed_and_when_the_next_one_comes():
    verdict = judged(R.EXIT_CODE, retry=patient(jitter=0))
    assert verdict == Verdict(
        S.SCHEDULED, "RetryBackoff", "attempt 1 of 3 failed (ExitCode: it ended); tried again in 10 s", 10_000, tries=1
    )


def test_a_retry_without_back_off_is_queued_at_once():
    verdict = judged(R.EXIT_CODE, retry=patient(backoff="none"))
    assert (verdict.state, verdict.delay_ms, verdict.reason) == (S.QUEUED, 0, "")


@pytest.mark.parametrize("reason", sorted(INFRASTRUCTURE - ASKED_FOR))
def test_a_loss_to_infrastructure_is_tried_again_and_spends_no_attempt(reason):
    verdicts = [judged(reason, crashes=crashes, tries=9) for crashes in range(5)]
    assert [verdict.state for verdict in verdicts] == [S.QUEUED, S.SCHEDULED, S.SCHEDULED, S.SCHEDULED, S.FAILED]
    assert [verdict.delay_ms for verdict in verdicts] == [0, 1_000, 5_000, 15_000, 0]
    assert all((verdict.tries, verdict.crashes) == (0, 1) for verdict in verdicts)
    assert verdicts[-1].message == f"lost 5 times to infrastructure; the last one: {reason}, it ended"


def test_the_crash_limit_has_a_reason_of_its_own_unless_the_cause_says_more():
    assert judged(R.WORKER_LOST, crashes=4).reason == R.CRASH_LIMIT
    assert judged(R.IMAGE_PULL_FAILED, crashes=4).reason == R.IMAGE_PULL_FAILED
    assert judged(R.WORKER_LOST, crash_limit=1).reason == R.CRASH_LIMIT


@pytest.mark.parametrize("reason", sorted(ASKED_FOR))
def test_what_people_asked_for_costs_no_budget_however_often(reason):
    verdict = judged(reason, crashes=4, tries=2)
    assert (verdict.state, verdict.tries, verdict.crashes, verdict.delay_ms) == (S.QUEUED, 0, 0, 0)


@pytest.mark.parametrize(
    ("entries", "codes"),
    [
        ((), []),
        ((2,), [2]),
        (("2",), [2]),
        (("64-66",), [64, 65, 66]),
        ((1, "3-4", 9), [1, 3, 4, 9]),
        (("5-4",), []),
        (("0-255",), range(256)),
    ],
)
def test_excluded_codes(entries, codes):
    assert [code for code in range(256) if excluded(code, entries)] == list(codes)


@given(
    st.integers(1, 100), st.floats(0, 1, exclude_max=True), st.floats(0, 1), st.sampled_from(["fixed", "exponential"])
)
def test_the_back_off_stays_within_its_jitter(failures, chance, jitter, backoff):
    retry = Retry(100, backoff, Duration(10_000), Duration(600_000), jitter)
    middle = min(10_000 * (2 ** (failures - 1) if backoff == "exponential" else 1), 600_000)
    assert middle * (1 - jitter) - 1 <= backoff_ms(retry, failures, chance) <= middle * (1 + jitter) + 1


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_without_jitter_chance_has_no_say(failures, chance):
    retry = Retry(100, "exponential", Duration(1_000), Duration(60_000), 0)
    assert backoff_ms(retry, failures, chance) == min(1_000 * 2 ** (failures - 1), 60_000)
    assert backoff_ms(Retry(100, "none"), failures, chance) == 0


@given(
    st.sampled_from(EndReason), st.integers(0, 120), st.integers(0, 10), st.none() | st.sampled_from(EndReason),
    st.none() | st.integers(0, 255), st.integers(1, 100), st.sampled_from(["none", "fixed", "exponential"]),
)  # fmt: skip
def test_every_verdict_is_one_that_can_be_written(reason, tries, crashes, stop, exit_code, attempts, backoff):
    verdict = judged(
        reason, tries=tries, crashes=crashes, stop=stop, exit_code=exit_code, retry=patient(attempts, backoff=backoff)
    )
    assert verdict.state in {*FINAL, S.QUEUED, S.SCHEDULED} - {S.EXPIRED}
    assert verdict.tries + verdict.crashes <= 1
    assert (verdict.delay_ms > 0) == (verdict.state is S.SCHEDULED)
    assert tries + verdict.tries <= max(attempts, tries + 1)
    assert verdict.state is not S.SCHEDULED or tries + 1 < attempts or reason in INFRASTRUCTURE
