"""NATS as a star: each connection has its way up and its way down, both in order; chance delays, loses and repeats.

A message is lost when nobody listens; a request then fails at once. What NATS never does is done to all but joins: the
same message comes twice. A partition drops what passes, or holds it back
until it heals, as a TCP connection does that nobody has given up yet; it may cut one direction only.

Single calls can be planned to fail: `fates` says what becomes of the calls of a kind, in order. A kind is `orders`,
`changed`, `receipt`, or a request, as `pulse`, and its `answer to pulse`.
"""

import contextlib
from collections.abc import Callable
from typing import Any

from fates import DONE, LOST, REFUSED, SILENT
from msgspec import Struct
from programs import Life
from timeline import Timeline

from swarmsync.errors import Unavailable

Resume = Callable[[Any, BaseException | None], None]
ASKED = ("join", "pulse", "reports", "logs")
UNSENT = "NATS does not take messages"


class Letter(Struct):
    """One message; `answer` is where a reply goes."""

    subject: str
    word: Any
    sender: "Connection"
    answer: "Answer | None" = None
    unheard: Callable[[], None] | None = None  # called when nobody listens
    fate: str = DONE


class Connection:
    def __init__(self, name: str, life: Life) -> None:
        self.name = name
        self.life = life
        self.open = True
        self.handlers: dict[str, Callable[[Letter], None]] = {}
        self.cut_up = ""  # "", "drop" or "hold"
        self.cut_down = ""
        self.lag_ms = 0
        self.troubles = 0  # counts cuts and lags, so that each ends the last one only
        self.last_up_ms = 0
        self.last_down_ms = 0
        self.held_up: list[Letter] = []
        self.held_down: list[tuple[Letter, Callable[[Letter], None]]] = []


class Answer:
    """What a request waits for: the first reply, or the end of its patience."""

    def __init__(self, network: "Network", letter: Letter, patience_ms: int) -> None:
        self._network = network
        self._letter = letter
        self._patience_ms = patience_ms
        self._resume: Resume | None = None
        self._limit: list[Any] | None = None

    def grant(self, resume: Resume) -> None:
        self._resume = resume
        timeline = self._network.timeline
        if self._letter.fate == REFUSED:
            timeline.after(0, self.fail, UNSENT)
            return
        self._limit = timeline.after(self._patience_ms, self.fail, "no answer in time")
        if self._letter.fate != LOST:
            self._network.send(self._letter)

    def come(self, letter: Letter) -> None:
        self._end(letter.word, None)

    def fail(self, why: str) -> None:
        self._end(None, Unavailable(why))

    def _end(self, value: Any, error: BaseException | None) -> None:
        resume, self._resume = self._resume, None
        if resume is None:
            return  # too late: the request was given up
        if self._limit is not None:
            Timeline.cancel(self._limit)
        resume(value, error)


class Network:
    #: What can be planned to fail.
    KINDS = ("changed", "orders", "receipt", *ASKED, *(f"answer to {kind}" for kind in ASKED))

    def __init__(self, timeline: Timeline, *, loss: float = 0.0, repeat: float = 0.0, delay_ms: int = 10) -> None:
        self.timeline = timeline
        self.loss = loss
        self.repeat = repeat
        self.delay_ms = delay_ms
        self.away = False
        self.deaf_to: tuple[str, ...] = ()
        self.lost = 0
        self.connections: list[Connection] = []
        self.fates: dict[str, list[str]] = {}
        self.calls: dict[str, int] = {}

    # ------------------------------------------------ for programs

    def connect(self, name: str, life: Life) -> Connection:
        connection = Connection(name, life)
        self.connections.append(connection)
        return connection

    def close(self, connection: Connection) -> None:
        """The program is gone: nothing reaches it any more; what it said before still arrives."""
        connection.open = False
        connection.handlers.clear()
        connection.held_up.clear()
        connection.held_down.clear()
        if connection in self.connections:
            self.connections.remove(connection)

    def publish(
        self, connection: Connection, subject: str, word: Any, unheard: Callable[[], None] | None = None
    ) -> None:
        """Raises Unavailable when NATS does not take it, or may have taken it."""
        self._send_or_fail(subject.partition(".")[0], Letter(subject, word, connection, unheard=unheard))

    def request(self, connection: Connection, subject: str, word: Any, patience_ms: int) -> Answer:
        letter = Letter(subject, word, connection, fate=self._fate(subject))
        letter.answer = Answer(self, letter, patience_ms)
        return letter.answer

    def reply(self, connection: Connection, to: Letter, word: Any) -> None:
        """Answer a request: the letter goes to the asker's connection, whoever holds it then.

        Who cannot send an answer leaves it at that: the asker asks again.
        """
        if to.answer is not None and to.fate != SILENT:
            with contextlib.suppress(Unavailable):
                self._send_or_fail(f"answer to {to.subject}", Letter("", (to.sender, word), connection, to.answer))

    def _send_or_fail(self, kind: str, letter: Letter) -> None:
        fate = self._fate(kind)
        if fate in (DONE, SILENT):
            self.send(letter)
        if fate in (REFUSED, SILENT):
            raise Unavailable(UNSENT)

    def _fate(self, kind: str) -> str:
        self.calls[kind] = self.calls.get(kind, 0) + 1
        planned = self.fates.get(kind)
        return planned.pop(0) if planned else DONE

    # ------------------------------------------------ the ways

    def send(self, letter: Letter) -> None:
        sender = letter.sender
        if sender.cut_up == "hold":
            sender.held_up.append(letter)
        elif sender.cut_up != "drop" and sender.open:
            self._up(letter)

    def _up(self, letter: Letter) -> None:
        sender, timeline = letter.sender, self.timeline
        arrives_ms = max(timeline.now_ms + self._delay(sender), sender.last_up_ms)
        sender.last_up_ms = arrives_ms
        timeline.after(arrives_ms - timeline.now_ms, self._at_server, letter)

    def _at_server(self, letter: Letter) -> None:
        chance = self.timeline.chance
        if self.away or letter.subject in self.deaf_to or (self.loss and chance.random() < self.loss):
            self.lost += 1
            return
        if letter.subject == "":
            asker, word = letter.word
            if asker.open and letter.answer is not None:
                self._down(asker, Letter("", word, letter.sender), letter.answer.come)
            return
        heard = False
        for connection in [entry for entry in self.connections if letter.subject in entry.handlers]:
            heard = True
            self._down(connection, letter, connection.handlers[letter.subject])
            if self.repeat and letter.subject != "join" and chance.random() < self.repeat:
                self._down(connection, letter, connection.handlers[letter.subject])
        if not heard and letter.answer is not None:
            self.timeline.after(self._delay(letter.sender), letter.answer.fail, "nobody listens")
        if not heard and letter.unheard is not None and letter.sender.open:
            self.timeline.after(self._delay(letter.sender), letter.unheard)

    def _down(self, receiver: Connection, letter: Letter, deliver: Callable[[Letter], None]) -> None:
        if receiver.cut_down == "drop":
            return
        if receiver.cut_down == "hold":
            receiver.held_down.append((letter, deliver))
            return
        timeline = self.timeline
        arrives_ms = max(timeline.now_ms + self._delay(receiver), receiver.last_down_ms)
        receiver.last_down_ms = arrives_ms
        timeline.after(arrives_ms - timeline.now_ms, self._deliver, receiver, letter, deliver)

    def _deliver(self, receiver: Connection, letter: Letter, deliver: Callable[[Letter], None]) -> None:
        if receiver.open:
            receiver.life.call(deliver, letter)

    def _delay(self, connection: Connection) -> int:
        return connection.lag_ms + round(self.timeline.chance.random() ** 3 * self.delay_ms * 2)

    # ------------------------------------------------ faults

    def cut(self, connection: Connection, *, up: str, down: str) -> None:
        """What was held back passes first when a way opens, and is lost when it is cut for good: TCP keeps order."""
        held_up, held_down = connection.held_up, connection.held_down
        if up != "hold":
            connection.held_up = []
        if down != "hold":
            connection.held_down = []
        connection.troubles += 1
        connection.cut_up, connection.cut_down = up, down
        for letter, deliver in held_down if down == "" else ():
            self._down(connection, letter, deliver)
        for letter in held_up if up == "" else ():
            self._up(letter)

    def slow(self, connection: Connection, lag_ms: int) -> None:
        connection.troubles += 1
        connection.lag_ms = lag_ms

    def heal(self, connection: Connection, troubles: int | None = None) -> None:
        """End its troubles; where `troubles` is given, only if no newer ones have come."""
        if troubles not in (None, connection.troubles):
            return
        connection.lag_ms = 0
        self.cut(connection, up="", down="")
