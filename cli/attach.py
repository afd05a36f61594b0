"""Staying with a job until its end: its output to ours, our signals to it, its exit code from us.

Three threads with one duty each. The reader follows the job's output; control sends what signals ask for and, until the
job starts, learns why it waits; the main thread alone writes. Signal handlers only enqueue. What the reader is ahead of
the main thread is bounded, so that a slow pipe slows the stream and not our memory.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType
from typing import BinaryIO, Final

from msgspec import Struct

from cli import exits
from cli.cells import cut, escape
from swarmsync.client import Client
from swarmsync.errors import Conflict, SwarmError, Unavailable
from swarmsync.follow import FROM_THE_START, LogChunk, LogEnd, follow

CHUNKS_AHEAD_MAX: Final = 256
#: How long Core may be away in the middle of a job before we give up and leave the job to itself.
PATIENCE_S: Final = 120.0
_LOOKS_S: Final = (0.4, 1.0, 2.0, 5.0)
_NEVER: Final = frozenset({"Unsatisfiable", "DependencyNeverSatisfied"})


class Waiting(Struct, frozen=True):
    """The job has not started, and why."""

    state: str
    reason: str
    message: str


class Note(Struct, frozen=True):
    """Something to tell the user."""

    text: str


class Signals:
    """SIGINT and SIGTERM: the first is queued for control, the second ends this process at once."""

    def __init__(self, leave: Callable[[int], object] = os._exit) -> None:
        self.queue: SimpleQueue[int] = SimpleQueue()
        self.first = 0
        self._leave = leave

    def receive(self, number: int, _frame: FrameType | None = None) -> None:
        if self.first:
            self._leave(128 + number)
        self.first = self.first or number
        self.queue.put(number)

    @contextmanager
    def caught(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Attachment:
    """One job and the terminal or pipes that it talks to."""

    def __init__(self, connect: Callable[[float], Client], job_id: str, signals: Signals) -> None:
        self._connect = connect
        self._job_id = job_id
        self._signals = signals
        self._events: SimpleQueue[LogChunk | LogEnd | Waiting | Note | BaseException] = SimpleQueue()
        self._room = threading.Semaphore(CHUNKS_AHEAD_MAX)
        self._writers = {"stdout": _Writer(sys.stdout.buffer), "stderr": _Writer(sys.stderr.buffer)}
        self._status = StatusLine()
        self._begun = self._started = False
        self._attempt = 0
        self._told: set[str] = set()

    def run(self) -> int:
        """Stay until the verdict and return the exit code that stands for it. Raises Unavailable when Core is gone."""
        for duty in (self._follow, self._control):
            threading.Thread(target=self._guarded, args=(duty,), daemon=True).start()
        while True:
            event = self._events.get()
            match event:
                case LogChunk():
                    self._status.clear()
                    self._notice_attempt(event)
                    self._write(event)
                    self._room.release()
                case LogEnd():
                    self._status.clear()
                    return self._conclude(event)
                case Waiting():
                    self._show_waiting(event)
                case Note():
                    self._status.clear()
                    exits.say(event.text)
                case _:
                    self._status.clear()
                    raise event

    def _guarded(self, duty: Callable[[], None]) -> None:
        try:
            duty()
        except BaseException as error:  # noqa: BLE001 handed to the main thread, which raises it
            self._events.put(error)

    def _follow(self) -> None:
        breaks = 0

        def tell(error: Unavailable | None) -> None:
            nonlocal breaks
            if error is None:
                if breaks > 1:
                    self._events.put(Note("connected again"))
                breaks = 0
                return
            breaks += 1
            if breaks == 2:  # the first is mended at once when Core is there, and not worth a word
                self._events.put(Note(f"{error}; the job goes on, reconnecting"))

        with self._connect(PATIENCE_S) as client:
            for piece in follow(client, self._job_id, FROM_THE_START, patience_s=PATIENCE_S, on_change=tell):
                if isinstance(piece, LogChunk):
                    self._room.acquire()
                self._events.put(piece)

    def _control(self) -> None:
        looks = iter(_LOOKS_S)
        pause_s = next(looks)
        with self._connect(PATIENCE_S) as client:
            while True:
                try:
                    number = self._signals.queue.get(timeout=pause_s)
                except Empty:
                    pause_s = next(looks, _LOOKS_S[-1])
                    if not (self._begun or self._started):
                        self._look(client)
                else:
                    self._cancel(client, number)

    def _look(self, client: Client) -> None:
        try:
            job = client.job(self._job_id)
        except SwarmError:
            return  # the reader has the same trouble and reports it
        if job["state"] in ("held", "scheduled", "blocked", "queued", "starting"):
            self._events.put(Waiting(job["state"], job["reason"] or "", job["message"] or ""))
        else:
            self._started = True
            self._events.put(Waiting("", "", ""))

    def _cancel(self, client: Client, number: int) -> None:
        self._events.put(Note(f"cancelling job {self._job_id} (once more to leave at once)"))
        try:
            client.cancel(self._job_id, f"{signal.Signals(number).name} at the terminal of consumer run")
        except Conflict:
            return  # it has ended meanwhile; the verdict is on its way
        except SwarmError as error:
            self._events.put(Note(f"could not cancel job {self._job_id}: {error}"))

    def _notice_attempt(self, chunk: LogChunk) -> None:
        if self._begun and chunk.attempt > self._attempt:
            exits.say(f"job {self._job_id}: attempt {chunk.attempt} begins, its output from the start")
        self._begun, self._attempt = True, chunk.attempt

    def _write(self, chunk: LogChunk) -> None:
        if self._writers[chunk.stream].write(chunk.data) or chunk.stream == "stderr" or self._signals.first:
            return
        self._signals.receive(signal.SIGPIPE)  # nobody reads the output any more, as if the container had a broken pipe

    def _show_waiting(self, waiting: Waiting) -> None:
        why = ": ".join(part for part in (waiting.reason, waiting.message) if part)
        if self._status.possible:
            self._status.show(f"job {self._job_id} is {waiting.state}: {why}" if waiting.state else "")
        elif waiting.reason in _NEVER and waiting.reason not in self._told:
            self._told.add(waiting.reason)
            exits.say(f"job {self._job_id} waits: {why}")

    def _conclude(self, end: LogEnd) -> int:
        job = end.document()
        exits.say_truncated(self._job_id, end.output_truncated)
        sentence = exits.verdict(self._job_id, job)
        if sentence:
            exits.say(sentence)
        if self._signals.first and end.state == "cancelled":
            return 128 + self._signals.first
        return exits.attached_code(job)


class StatusLine:
    """One line on a terminal's stderr that is written over; nothing elsewhere."""

    def __init__(self) -> None:
        self.possible = sys.stderr.isatty()
        self._shown = False

    def show(self, text: str) -> None:
        self.clear()
        if text:
            import shutil

            line = cut(escape(text), shutil.get_terminal_size().columns - 1)
            print(line, end="", file=sys.stderr, flush=True)
            self._shown = True

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False


class _Writer:
    """Raw bytes to one of our own streams until its reader goes away."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._open = True

    def write(self, data: bytes) -> bool:
        """Write all of `data` now; False when nobody reads."""
        if self._open:
            try:
                self._stream.write(data)
                self._stream.flush()
            except BrokenPipeError:
                self._open = False
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # the flush at exit must not fail
        return self._open
