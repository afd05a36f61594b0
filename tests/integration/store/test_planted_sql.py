"""Bugs on purpose in the statements: for each, a test that is there already must fail on real PostgreSQL."""

from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import pytest

from swarmsync.store import queries
from tests.integration.store import (
    test_store_arrays,
    test_store_dependencies,
    test_store_dispatch,
    test_store_settle,
    test_store_time,
)

pytestmark = pytest.mark.integration

SETTLE, DISPATCH = test_store_settle, test_store_dispatch
#: what -> (statement, text, what it becomes, the test that finds it, its parameters)
BUGS: dict[str, tuple[str, str, str, Callable[..., Any], dict[str, Any]]] = {
    "a verdict counts for any attempt": (
        "settle", "WHERE j.id = i.id AND j.fence = i.fence AND", "WHERE j.id = i.id AND",
        SETTLE.test_a_verdict_of_another_attempt_changes_nothing, {"fence": 2, "state": "failed"},
    ),
    "a success counts for any attempt": (
        "settle_succeeded", "WHERE j.id = i.id AND j.fence = i.fence AND", "WHERE j.id = i.id AND",
        SETTLE.test_a_verdict_of_another_attempt_changes_nothing, {"fence": 2, "state": "succeeded"},
    ),
    "a success is given to what is over": (
        "settle_succeeded", "AND j.state = ANY ($1::text[])",
        "AND (j.state = ANY ($1::text[]) OR j.finished_at IS NOT NULL)",
        SETTLE.test_the_same_verdict_again_changes_nothing, {"again": "succeeded"},
    ),
    "a success is given to what waits": (
        "settle_succeeded", "AND j.state = ANY ($1::text[])",
        "AND (j.state = ANY ($1::text[]) OR j.state = 'queued')",
        SETTLE.test_a_verdict_of_a_job_that_waits_changes_nothing, {"state": "succeeded"},
    ),
    "a success that was not told as begun has no beginning": (
        "settle_succeeded", "j.started_at IS NULL AND i.ran_ms IS NOT NULL", "false",
        SETTLE.test_a_success_is_written_alike_whatever_else_is_in_its_batch, {},
    ),
    "a verdict is given to what is over": (
        "settle", "AND j.state = ANY ($1::text[])", "AND (j.state = ANY ($1::text[]) OR j.finished_at IS NOT NULL)",
        SETTLE.test_the_same_verdict_again_changes_nothing, {"again": "failed"},
    ),
    "a verdict is given to what waits": (
        "settle", "AND j.state = ANY ($1::text[])", "AND (j.state = ANY ($1::text[]) OR j.state = 'queued')",
        SETTLE.test_a_verdict_of_a_job_that_waits_changes_nothing, {"state": "failed"},
    ),
    "an end ignores the epoch of its order": (
        "settle", "j.orders_epoch = i.orders_epoch AND ", "",
        SETTLE.test_an_end_that_rests_on_an_order_passes_only_if_it_was_not_sent_again_since,
        {"orders": (0, 2), "passes": False},
    ),
    "an end ignores that its order went out again": (
        "settle", " AND j.orders_seq = i.orders_seq", "",
        SETTLE.test_an_end_that_rests_on_an_order_passes_only_if_it_was_not_sent_again_since,
        {"orders": (1, 1), "passes": False},
    ),
    "a retry forgets that somebody cancelled": (
        "settle", "j.stop_reason NOT LIKE 'CancelledBy%'", "true",
        SETTLE.test_a_cancel_that_came_after_the_verdict_was_made_is_not_lost, {"state": "queued"},
    ),
    "the retry budget is lost": (
        "settle", "tries = j.tries + i.tries", "tries = i.tries",
        SETTLE.test_tries_and_crashes_add_up_over_attempts_and_each_leaves_its_record, {},
    ),
    "late news is booked on an attempt that ended well": (
        "supersede", " AND a.state = 'lost'", "",
        SETTLE.test_late_news_is_counted_on_the_attempt_that_was_lost_and_changes_nothing_else, {},
    ),
    "the fence stays": (
        "dispatch", "ELSE j.fence END + 1", "ELSE greatest(j.fence, 1) END",
        DISPATCH.test_the_fence_rises_by_one_with_each_attempt, {},
    ),
    "what is not queued is dispatched": (
        "dispatch", "AND j.state = ANY ($5::text[])", "AND (j.state = ANY ($5::text[]) OR true)",
        DISPATCH.test_what_is_not_queued_any_more_is_left_out_and_unchanged, {},
    ),
    "what was accepted is ordered again": (
        "resend", " AND j.assignment_state = 'offered'", "",
        DISPATCH.test_what_was_accepted_or_is_another_attempt_is_not_sent_again, {},
    ),
    "a start counts for any attempt": (
        "started", "AND j.fence = i.fence AND", "AND",
        DISPATCH.test_a_start_is_noted_once_and_only_for_its_own_attempt, {},
    ),
    "an array ends before its members": (
        "arrays_done", "WHERE NOT EXISTS (SELECT FROM jobs m WHERE m.array_id = i.id AND m.finished_at IS NULL)", "",
        test_store_arrays.test_an_array_with_an_open_member_goes_on, {"state": "queued"},
    ),
    "one parent's end is enough": (
        "dependencies_release", "AND d.met IS DISTINCT FROM true)", "AND d.met IS NOT DISTINCT FROM false)",
        test_store_dependencies.test_a_job_waits_for_all_its_parents, {},
    ),
    "a parent's end is forgotten": (
        "dependencies_release", "AND d.met IS DISTINCT FROM true)", ")",
        test_store_dependencies.test_a_job_waits_for_all_its_parents, {},
    ),
    "what was started expires": (
        "expire", "(fence = 0 OR deadline_at <= statement_timestamp())", "true",
        test_store_time.test_what_was_started_once_does_not_expire, {},
    ),
}  # fmt: skip


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], None]]:
    """Change the text of a statement for this test; a text that is gone says so itself."""
    there = queries.files

    class Changed:
        def __init__(self, name: str, old: str, new: str) -> None:
            self.name, self.old, self.new, self.path = name, old, new, None

        def joinpath(self, path: str) -> Any:
            self.path = path
            return self

        def read_text(self) -> str:
            text = there(queries.__name__).joinpath(self.path).read_text()
            if self.path != f"{self.name}.sql":
                return text
            assert text.count(self.old) == 1, f"{self.path}: the planted bug must be renewed"
            return text.replace(self.old, self.new)

    def change(name: str, old: str, new: str) -> None:
        monkeypatch.setattr(queries, "files", lambda _package: Changed(name, old, new))
        queries.sql.cache_clear()
        assert new in queries.sql(name)

    yield change
    monkeypatch.undo()
    queries.sql.cache_clear()


@pytest.mark.parametrize("bug", BUGS)
async def test_postgresql_finds(desk, verdict, planted, bug):
    name, old, new, test, parameters = BUGS[bug]
    fixtures = {"desk": desk, "verdict": verdict, **parameters}
    wanted = test.__code__.co_varnames[: test.__code__.co_argcount]
    planted(name, old, new)
    with pytest.raises((AssertionError, asyncpg.IntegrityConstraintViolationError)):
        await test(**{key: fixtures[key] for key in wanted})
