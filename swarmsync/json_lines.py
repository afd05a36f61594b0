"""Log lines as JSON, one object a line: at, source, level, message, and what the line is about (job, fence, worker)."""

import json
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

FORMATS: Final = ("text", "json")


def json_line(at_ms: int, source: str, level: str, message: str, about: Mapping[str, Any] | None = None) -> str:
    """Return the line without its end. What `about` says never replaces the four fields that every line has."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fixed = {"at": at, "source": source, "level": level, "message": message}
    return json.dumps(
        {**fixed, **{key: value for key, value in (about or {}).items() if key not in fixed}}, default=str
    )


#: Gunicorn's own loggers have handlers of their own unless told otherwise.
_PLAIN: Final = {"level": "WARNING", "handlers": ["stderr"], "propagate": False}


class JsonFormatter(logging.Formatter):
    """For programs that log through Python's logging; `source` says which one. A traceback is one field."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = source

    def format(self, record: logging.LogRecord) -> str:
        about = {"traceback": self.formatException(record.exc_info)} if record.exc_info else {}
        return json_line(int(record.created * 1000), self._source, record.levelname.lower(), record.getMessage(), about)


def logging_config(source: str) -> dict[str, Any]:
    """For logging.config.dictConfig: everything from warnings on, to stderr."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter, "source": source}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": dict.fromkeys(("gunicorn.error", "gunicorn.access"), _PLAIN),
    }


def event_line(source: str, event: Mapping[str, Any]) -> str:
    """Write an event of structlog: `event` is its message, `level` its level, the rest what it is about."""
    about = {key: value for key, value in event.items() if key not in ("event", "level", "timestamp")}
    return json_line(time.time_ns() // 1_000_000, source, str(event.get("level", "info")), str(event["event"]), about)
