"""Server-sent events of Core as documents, resumed where they broke off (WHATWG HTML, "Server-sent events")."""

import time
from collections.abc import Callable, Iterator
from typing import Final

from swarmsync.calls import Document
from swarmsync.errors import Unavailable
from swarmsync.follow import Patience, Source
from swarmsync.wire import Filters, read_json

PATIENCE_S: Final = 120.0
EVENTS_END: Final = Unavailable("Core ended the stream of events")


class EventReader:
    """Makes events of the lines of a stream. Pure; comments and unknown fields are passed over."""

    def __init__(self) -> None:
        self._event_id = ""
        self._data: list[str] = []

    def take(self, raw: bytes) -> tuple[str, Document] | None:
        """Return (id, document) when this line completes an event."""
        line = raw.rstrip(b"\r").decode()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line and self._data:
            document = read_json("\n".join(self._data).encode())
            self._data = []
            return self._event_id, document
        if name == "data":
            self._data.append(value)
        elif name == "id":
            self._event_id = value
        return None


def follow_events(
    client: Source,
    query: Filters,
    *,
    patience_s: float = PATIENCE_S,
    last_id: str = "",
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Document]:
    """Yield events for ever, from after `last_id` on. Raises Unavailable when Core stays away for `patience_s`."""
    patience = Patience(patience_s)
    while True:
        failure = EVENTS_END
        try:
            lines = client.lines("/v1/events", query, resume_headers(last_id), on_open=patience.opened)
            for event_id, event in parsed(lines):
                last_id = event_id or last_id
                patience.good()
                yield event
        except Unavailable as error:
            failure = error
        sleep(patience.broken(failure))


def recent_events(client: Source, query: Filters) -> Iterator[Document]:
    """Yield the kept events and end."""
    for _, event in parsed(client.lines("/v1/events", {**query, "follow": 0}, resume_headers("0"))):
        yield event


def resume_headers(last_id: str) -> dict[str, str]:
    return {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}


def parsed(lines: Iterator[bytes]) -> Iterator[tuple[str, Document]]:
    """Yield (id, document) for each event."""
    reader = EventReader()
    for raw in lines:
        event = reader.take(raw)
        if event is not None:
            yield event
