"""Server-sent events of Core as documents, resumed where they broke off."""

import time
from collections.abc import Callable, Iterator
from typing import Final

from cli.follow import Patience
from swarmsync.client import Client, Document
from swarmsync.errors import Unavailable
from swarmsync.wire import Filters, read_json

PATIENCE_S: Final = 120.0


def follow_events(
    client: Client,
    query: Filters,
    *,
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Document]:
    """Yield events for ever. Raises Unavailable when Core stays away for `patience_s`."""
    last_id, patience = "", Patience(patience_s, sleep)
    while True:
        failure = Unavailable("Core ended the stream of events")
        try:
            lines = client.lines("/v1/events", query, resume_headers(last_id), on_open=patience.opened)
            for event_id, event in parsed(lines):
                last_id = event_id or last_id
                patience.good()
                yield event
        except Unavailable as error:
            failure = error
        patience.broken(failure)


def recent_events(client: Client, query: Filters) -> Iterator[Document]:
    """Yield the kept events and end."""
    for _, event in parsed(client.lines("/v1/events", {**query, "follow": 0}, resume_headers("0"))):
        yield event


def resume_headers(last_id: str) -> dict[str, str]:
    return {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}


def parsed(lines: Iterator[bytes]) -> Iterator[tuple[str, Document]]:
    """Yield (id, document) for each event; comments and unknown fields are passed over."""
    event_id = ""
    data: list[str] = []
    for raw in lines:
        line = raw.rstrip(b"\r").decode()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line and data:
            yield event_id, read_json("\n".join(data).encode())
            data = []
        elif name == "data":
            data.append(value)
        elif name == "id":
            event_id = value
