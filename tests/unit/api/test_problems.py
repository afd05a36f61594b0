import logging

import falcon
import pytest
from falcon.asgi import App
from falcon.testing import TestClient

from api import problems
from api.problems import WrongMediaType
from api.query_strings import QueryError
from api.strict_json import MalformedJson
from swarmsync import errors
from swarmsync.errors import FieldError


def answer_to(error: Exception):
    class Failing:
        async def on_get(self, _request, _response) -> None:
            raise error

    app = App()
    problems.install(app)
    app.add_route("/", Failing())
    return TestClient(app).simulate_get("/")


WHERE = [FieldError("$.a", "is wrong")]


@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        (errors.RequestError("no"), 400, "Bad request"),
        (MalformedJson(WHERE), 400, "Malformed JSON"),
        (QueryError("limit", "is wrong"), 400, "Malformed query"),
        (errors.NotLoggedIn("no"), 401, "Not logged in"),
        (errors.NotAllowed("no"), 403, "Not allowed"),
        (errors.NotFound("no"), 404, "Not found"),
        (errors.Conflict("no"), 409, "Conflict"),
        (errors.TooLarge("no"), 413, "Too large"),
        (WrongMediaType("no"), 415, "Unsupported media type"),
        (errors.SpecError(WHERE), 422, "Invalid spec"),
        (errors.TooMany("no", 7), 429, "Too many requests"),
        (errors.Unavailable("no"), 503, "Unavailable"),
        (falcon.HTTPNotFound(), 404, "Not Found"),
        (falcon.HTTPBadRequest(title="400 Bad Request", description="no"), 400, "Bad Request"),
    ],
)
def test_each_error_has_its_status_and_document(error, status, title):
    result = answer_to(error)
    assert result.status_code == status
    assert result.headers["content-type"] == "application/problem+json"
    document = result.json
    assert (document["status"], document["title"]) == (status, title)
    assert document["type"].startswith("urn:swarmsync:problem:")
    assert document["detail"]


def test_fields_are_listed_where_they_are_known():
    assert answer_to(errors.SpecError(WHERE)).json["errors"] == [{"path": "$.a", "message": "is wrong"}]
    assert answer_to(QueryError("limit", "is wrong")).json["errors"] == [{"path": "?limit", "message": "is wrong"}]
    assert "errors" not in answer_to(errors.Conflict("no")).json


def test_headers_tell_what_to_do():
    assert answer_to(errors.NotLoggedIn("no")).headers["www-authenticate"].startswith("Bearer")
    assert answer_to(errors.TooMany("no", 7)).headers["retry-after"] == "7"
    assert int(answer_to(errors.Unavailable("no")).headers["retry-after"]) > 0


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("secret detail"), AssertionError("secret detail"), errors.StaleEpoch("secret detail")]
)
def test_a_bug_is_a_500_with_a_number_and_the_log_has_the_trace(error, caplog):
    with caplog.at_level(logging.ERROR):
        result = answer_to(error)
    assert result.status_code == 500
    assert "secret" not in result.text
    assert "Traceback" not in result.text
    number = result.json["detail"].rsplit(" ", 1)[1]
    (record,) = caplog.records
    assert number in record.getMessage()
    assert record.exc_info is not None
