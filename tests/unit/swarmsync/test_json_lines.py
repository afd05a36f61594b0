"""Lines of logs as JSON."""

import json
import logging
import sys

from swarmsync.json_lines import JsonFormatter, event_line, json_line


def test_a_line_has_its_four_fields_and_what_it_is_about():
    line = json_line(1_000, "logger", "info", "a\nb", {"job": "0abc", "fence": "2", "level": "forged"})
    assert "\n" not in line
    assert json.loads(line) == {
        "at": "1970-01-01T00:00:01.000Z", "source": "logger", "level": "info", "message": "a\nb", "job": "0abc", "fence": "2",
    }  # fmt: skip


def test_a_traceback_is_one_field():
    try:
        int("what")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "it %s", ("broke",), sys.exc_info())
    told = json.loads(JsonFormatter("api").format(record))
    assert (told["source"], told["level"], told["message"]) == ("api", "error", "it broke")
    assert "ValueError: invalid" in told["traceback"]


def test_events_of_structlog():
    told = json.loads(event_line("worker", {"event": "joined", "level": "info", "worker": "w1", "holds": 3}))
    assert (told["message"], told["worker"], told["holds"]) == ("joined", "w1", 3)
