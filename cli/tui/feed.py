"""The threads that talk to Core for the screens: one for the stream of events, one for a job's output, two for calls.

What they learn goes into one bounded queue; when it is full they wait, and with them the streams, never our memory.
Core may be away: the stream of events says so and takes up where it broke as soon as Core is back.
"""

import threading
import uuid
from collections.abc import Callable
from queue import Empty, Full, Queue
from typing import Final

from cli.tui.screens import (
    Answer,
    Ask,
    Began,
    Document,
    Events,
    Failed,
    FollowEvents,
    FollowLogs,
    Link,
    Message,
    Output,
)
from swarmsync.client import Client
from swarmsync.errors import RequestError, SpecError, SwarmError, Unavailable
from swarmsync.events import parsed, resume_headers
from swarmsync.follow import LogChunk, LogEnd, follow

MESSAGES_MAX: Final = 2_000
ASKED_MAX: Final = 100
CALLERS: Final = 2
CALL_TIMEOUT_S: Final = 10.0
DELAY_MAX_S: Final = 1.0
ITEMS_MAX: Final = 50_000
LOG_TAIL: Final = 200


class Feed:
    """`connect(patience_s)` makes a client for one thread; `wake` is called when there is something to take."""

    def __init__(self, connect: Callable[[float], Client], wake: Callable[[], None]) -> None:
        self._connect = connect
        self._wake = wake
        self._messages: Queue[Message] = Queue(MESSAGES_MAX)
        self._asked: Queue[Ask] = Queue(ASKED_MAX)
        self._open_tags: set[str] = set()
        self._closed = threading.Event()
        self._streams: list[Client] = []
        self._events: threading.Thread | None = None
        self._logs: tuple[str, threading.Event, Client] | None = None
        for _ in range(CALLERS):
            threading.Thread(target=self._call_for_ever, daemon=True).start()

    def take(self) -> list[Message]:
        """Return what has come since the last call, oldest first; never waits."""
        found: list[Message] = []
        try:
            while len(found) < MESSAGES_MAX:
                found.append(self._messages.get_nowait())
        except Empty:
            pass
        return found

    def ask(self, ask: Ask) -> None:
        """Make a call behind the scenes; what is asked twice at once is asked once."""
        if ask.tag in self._open_tags:
            return
        self._open_tags.add(ask.tag)
        try:
            self._asked.put_nowait(ask)
        except Full:
            self._open_tags.discard(ask.tag)

    def follow_events(self, _: FollowEvents) -> None:
        """Begin to tell every change; where that goes on already, begin anew with what is."""
        if self._events is None:
            self._events = threading.Thread(target=self._follow_events, daemon=True)
            self._events.start()
        else:
            self._begin_again = True
            for client in self._streams:
                client.hang_up()

    def follow_logs(self, wish: FollowLogs) -> None:
        """Tell what a job writes in place of what another one writes."""
        if self._logs is not None:
            _, ended, client = self._logs
            ended.set()
            client.hang_up()
            self._logs = None
        if wish.job:
            self._logs = (wish.job, threading.Event(), self._connect(0.0))
            threading.Thread(target=self._follow_logs, args=self._logs, daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        self.follow_logs(FollowLogs(""))
        for client in self._streams:
            client.hang_up()

    # --- calls --------------------------------------------------------------------------------------------------------

    def _call_for_ever(self) -> None:
        with self._connect(0.0) as client:
            while not self._closed.is_set():
                try:
                    ask = self._asked.get(timeout=0.5)
                except Empty:
                    continue
                message = _call(client, ask)
                self._open_tags.discard(ask.tag)
                self._put(message)

    # --- streams ------------------------------------------------------------------------------------------------------

    _begin_again = True

    def _follow_events(self) -> None:
        place, delay_s = "", 0.1
        with self._connect(0.0) as client:
            self._streams.append(client)
            while not self._closed.is_set():
                try:
                    if self._begin_again:
                        self._begin_again = False
                        began = _all_pages(client, Ask("", "/v1/events/snapshot", {"limit": 5_000}))
                        place = began["place"]
                        self._put(Began(began["at"], began["items"]))
                    place, problem = self._read_events(client, place)
                    delay_s = 0.1
                except SwarmError as error:
                    problem = str(error)
                if self._closed.is_set():
                    return
                if self._begin_again:
                    continue
                self._put(Link(problem))
                self._closed.wait(delay_s)
                delay_s = min(delay_s * 2, DELAY_MAX_S)

    def _read_events(self, client: Client, place: str) -> tuple[str, str]:
        """Tell events until the stream breaks; returns where it was and why."""
        lines = client.lines("/v1/events", headers=resume_headers(place), on_open=lambda: self._put(Link("")))
        try:
            for event_id, event in parsed(lines):
                place = event_id or place
                self._put(Events([{**event, "id": event_id}]))
        except Unavailable as error:
            return place, str(error)
        return place, "Core ended the stream of events"

    def _follow_logs(self, job: str, ended: threading.Event, client: Client) -> None:
        with client:
            try:
                query = {"tail": LOG_TAIL}
                for piece in follow(client, job, query, patience_s=1e9, sleep=lambda pause_s: _pause(ended, pause_s)):
                    if ended.is_set():
                        return
                    if isinstance(piece, LogChunk):
                        self._put(Output(job, piece.data.decode(errors="replace")))
                    elif isinstance(piece, LogEnd):
                        self._put(Output(job, f"\n-- {piece.state}: {piece.message or piece.reason or ''}\n"))
            except (SwarmError, _EndedError) as error:
                if not ended.is_set():
                    self._put(Output(job, f"\n-- {error}\n"))

    def _put(self, message: Message) -> None:
        while not self._closed.is_set():
            try:
                self._messages.put(message, timeout=0.5)
            except Full:
                continue
            self._wake()
            return


class _EndedError(Exception):
    """Nobody wants to hear the rest."""


def _pause(ended: threading.Event, pause_s: float) -> None:
    if ended.wait(pause_s):
        raise _EndedError


def _call(client: Client, ask: Ask) -> Message:
    try:
        if ask.pages:
            return Answer(ask.tag, _all_pages(client, ask))
        key = str(uuid.uuid4()) if ask.once else ""
        answer = client.call(ask.method, ask.path, ask.body, query=ask.query, key=key, timeout_s=CALL_TIMEOUT_S)
        return Answer(ask.tag, answer)
    except SpecError as error:
        return Failed(
            ask.tag, str(error), gone=False, errors=tuple((wrong.path, wrong.message) for wrong in error.errors)
        )
    except RequestError as error:
        return Failed(ask.tag, str(error), gone=False)
    except SwarmError as error:
        return Failed(ask.tag, str(error), gone=True)


def _all_pages(client: Client, ask: Ask) -> Document:
    """Return the first page with the items of all; the moment that it tells holds for the others."""
    first: Document = client.get(ask.path, ask.query, timeout_s=CALL_TIMEOUT_S)
    cursor = first.get("next_cursor")
    while cursor and len(first["items"]) < ITEMS_MAX:
        query = {**ask.query, "cursor": cursor, **({"at": first["at"]} if "at" in first else {})}
        page = client.get(ask.path, query, timeout_s=CALL_TIMEOUT_S)
        first["items"] += page["items"]
        cursor = page.get("next_cursor")
    return first
