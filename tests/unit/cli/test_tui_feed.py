"""The threads behind the screens, against a scripted Core."""

import json
import threading
import time

import pytest
from fake_core import ID, Hangup, Problem, Stream, chunk, end
from tui_samples import event, moment

from cli.tui.feed import Feed
from cli.tui.screens import Answer, Ask, Began, Events, Failed, FollowEvents, FollowLogs, Link, Output
from swarmsync.client import Client
from swarmsync.errors import Unavailable


class Listener:
    """A feed, and what it has told so far."""

    def __init__(self, url: str) -> None:
        self._news = threading.Event()
        self.feed = Feed(lambda patience_s: Client(url, "secret", patience_s=patience_s), self._news.set)
        self.told: list = []

    def until(self, true, timeout_s: float = 60) -> None:
        """Take messages until `true(told)`."""
        deadline = time.monotonic() + timeout_s
        while not true(self.told):
            assert self._news.wait(max(deadline - time.monotonic(), 0)), self.told
            self._news.clear()
            self.told += self.feed.take()

    def kinds(self) -> list[str]:
        return [type(message).__name__ for message in self.told]


@pytest.fixture
def listener(core):
    listener = Listener(core.url)
    yield listener
    listener.feed.close()


def sse(*events) -> list[bytes]:
    return [line for e in events for line in (f"id: {e['id']}".encode(), f"data: {json.dumps(e)}".encode(), b"")]


def snapshot(*items, place="5-0"):
    return {"at": moment(5), "place": place, "items": list(items), "next_cursor": None}


def test_a_call_is_answered_refused_or_finds_core_away(core, listener):
    core.on("GET", "/v1/stats", {"jobs": {}})
    wrong = [{"path": "$.image", "message": "is missing"}]
    core.on("POST", "/v1/jobs/validate", Problem(422, "invalid", wrong))
    core.on("GET", "/v1/jobs", Problem(403, "not yours"))
    core.on("GET", "/v1/workers", Hangup())
    listener.feed.ask(Ask("a", "/v1/stats"))
    listener.feed.ask(Ask("b", "/v1/jobs/validate", method="POST", body={}))
    listener.feed.ask(Ask("c", "/v1/jobs"))
    listener.feed.ask(Ask("d", "/v1/workers"))
    listener.until(lambda told: len(told) == 4)
    told = {message.tag: message for message in listener.told}
    assert told["a"] == Answer("a", {"jobs": {}})
    assert (told["b"].gone, told["b"].errors) == (False, (("$.image", "is missing"),))
    assert (told["c"].gone, told["c"].sentence) == (False, "not yours")
    assert isinstance(told["d"], Failed)
    assert told["d"].gone


def test_what_is_asked_twice_at_once_is_asked_once(core, listener):
    go = threading.Event()
    core.on("GET", "/v1/stats", lambda _: (go.wait(10), (200, {}))[1])
    for _ in range(5):
        listener.feed.ask(Ask("a", "/v1/stats"))
    go.set()
    listener.until(lambda told: told)
    listener.feed.ask(Ask("a", "/v1/stats"))
    listener.until(lambda told: len(told) == 2)
    assert len(core.asked("GET", "/v1/stats")) == 2


def test_what_is_made_has_a_key(core, listener):
    core.on("POST", "/v1/jobs", (201, {"id": ID}))
    listener.feed.ask(Ask("make", "/v1/jobs", method="POST", body={"image": "a"}, once=True))
    listener.until(lambda told: told)
    assert core.requests[0].headers["Idempotency-Key"]


def test_pages_are_put_together(core, listener):
    first = {**snapshot(event("a", "queued", 1)), "next_cursor": "a"}
    core.on("GET", "/v1/events/snapshot", first, snapshot(event("b", "queued", 2)))
    listener.feed.ask(Ask("past.0", "/v1/events/snapshot", {"at": moment(5)}, pages=True))
    listener.until(lambda told: told)
    assert [item["job"] for item in listener.told[0].document["items"]] == ["a", "b"]
    assert core.requests[1].query == {"at": [moment(5)], "cursor": ["a"]}


def test_events_go_on_where_they_broke(core, listener):
    core.on("GET", "/v1/events/snapshot", snapshot(event("a", "queued", 1)))
    stay = threading.Event()

    def for_ever(_request):
        def lines():
            yield from sse(event("a", "succeeded", 3))
            stay.wait(10)

        return Stream(lines())

    core.on("GET", "/v1/events", Stream(sse(event("a", "running", 2)), broken=True), Problem(503, "away"), for_ever)
    listener.feed.follow_events(FollowEvents())
    listener.until(lambda told: sum(isinstance(message, Events) for message in told) == 2)
    stay.set()
    seen = [message for message in listener.told if not isinstance(message, Link)]
    assert seen[0] == Began(moment(5), [event("a", "queued", 1)])
    assert [message.items[0]["state"] for message in seen[1:]] == ["running", "succeeded"]
    places = [request.headers["Last-Event-ID"] for request in core.asked("GET", "/v1/events")]
    assert places == ["5-0", "7-2", "7-2"]
    problems = [message.problem for message in listener.told if isinstance(message, Link)]
    assert (problems[0], "broke" in problems[1], "away" in problems[2], problems[3]) == ("", True, True, "")
    assert len(core.asked("GET", "/v1/events/snapshot")) == 1


def test_another_screen_begins_anew_with_what_is(core, listener):
    stay = threading.Event()
    core.on("GET", "/v1/events/snapshot", snapshot(), snapshot(event("a", "queued", 1)))
    core.on("GET", "/v1/events", lambda _: Stream(iter(lambda: b"x" if stay.wait(10) else b"", b"x")))
    listener.feed.follow_events(FollowEvents())
    listener.until(lambda told: any(isinstance(message, Link) for message in told))
    listener.feed.follow_events(FollowEvents())
    listener.until(lambda told: sum(isinstance(message, Began) for message in told) == 2)
    stay.set()
    assert all(not message.problem for message in listener.told if isinstance(message, Link))


def test_output_follows_and_ends_with_the_job(core, listener):
    core.on("GET", f"/v1/jobs/{ID}/logs", Stream([chunk(b"one\n"), chunk(b"two\n", 4), end(message="exit code 0")]))
    listener.feed.follow_logs(FollowLogs(ID))
    listener.until(lambda told: len(told) == 3)
    assert [message.text for message in listener.told] == ["one\n", "two\n", "\n-- succeeded: exit code 0\n"]
    assert {message.job for message in listener.told} == {ID}
    assert core.requests[0].query["tail"] == ["200"]


def test_output_of_another_job_ends_the_first_at_once(core, listener):
    stay = threading.Event()

    def for_ever(_request):
        def lines():
            yield chunk(b"begun\n")
            stay.wait(10)

        return Stream(lines())

    core.on("GET", f"/v1/jobs/{ID}/logs", for_ever)
    core.on("GET", "/v1/jobs/other/logs", Stream([chunk(b"of the other\n"), end()]))
    listener.feed.follow_logs(FollowLogs(ID))
    listener.until(lambda told: told)
    listener.feed.follow_logs(FollowLogs("other"))
    listener.until(lambda told: len(told) == 3)
    stay.set()
    assert [message.job for message in listener.told if isinstance(message, Output)] == [ID, "other", "other"]


def test_hanging_up_wakes_who_reads_a_stream(core):
    stay, begun, broke = threading.Event(), threading.Event(), threading.Event()

    def for_ever(_request):
        def lines():
            yield b"first"
            stay.wait(10)

        return Stream(lines())

    core.on("GET", "/v1/events", for_ever)
    client = Client(core.url, "secret")

    def read() -> None:
        try:
            for _ in client.lines("/v1/events"):
                begun.set()
        except Unavailable:
            broke.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert begun.wait(10)
    client.hang_up()
    assert broke.wait(10)
    stay.set()
    reader.join(10)
