"""Errors to HTTP: the only place where an exception becomes a status and an `application/problem+json` document."""

import logging
import secrets
from typing import Any, Final

import falcon
import msgspec
from falcon.asgi import App, Request, Response

from swarmsync.errors import FieldError, NotLoggedIn, SwarmError, TooMany, Unavailable

CONTENT_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 1
_LOG: Final = logging.getLogger("swarmsync.api")


class WrongMediaType(SwarmError):
    """The body is not JSON, or it is compressed."""

    status = 415
    title = "Unsupported media type"


def document(status: int, title: str, detail: str, errors: list[FieldError] | None = None) -> dict[str, Any]:
    """Return a problem document (RFC 9457); `errors` names the fields."""
    kind = title.lower().replace(" ", "-")
    problem: dict[str, Any] = {
        "type": f"urn:swarmsync:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
    }
    if errors:
        problem["errors"] = errors
    return problem


def install(app: App[Request, Response]) -> None:
    app.add_error_handler(Exception, _on_bug)
    app.add_error_handler(falcon.HTTPError, _on_http_error)
    app.add_error_handler(SwarmError, _on_error)


async def _on_error(_request: Request, response: Response, error: SwarmError, _params: dict[str, Any]) -> None:
    if error.status >= 500 and not isinstance(error, Unavailable):
        await _on_bug(_request, response, error, _params)
        return
    errors: list[FieldError] | None = getattr(error, "errors", None)
    if isinstance(error, NotLoggedIn):
        response.set_header("WWW-Authenticate", 'Bearer realm="swarmsync"')
    if isinstance(error, TooMany):
        response.set_header("Retry-After", str(error.retry_after_s))
    if isinstance(error, Unavailable):
        response.set_header("Retry-After", str(RETRY_AFTER_S))
    _say(response, error.status, error.title, str(error), errors)


async def _on_http_error(
    _request: Request, response: Response, error: falcon.HTTPError, _params: dict[str, Any]
) -> None:
    """What Falcon itself refuses: unknown routes and methods, unreadable headers."""
    for name, value in dict(error.headers or {}).items():
        response.set_header(name, value)
    title = error.title or str(error.status)
    sentences = {404: "there is nothing at this address", 405: "this address does not take that method"}
    _say(
        response,
        error.status_code,
        title.partition(" ")[2] or title,
        error.description or sentences.get(error.status_code, title),
    )


async def _on_bug(request: Request, response: Response, error: Exception, _params: dict[str, Any]) -> None:
    """A bug of ours: the caller gets a number to report, the log gets the trace."""
    number = secrets.token_hex(6)
    _LOG.error("request %s: %s %s failed", number, request.method, request.path, exc_info=error)
    _say(response, 500, "Internal error", f"SwarmSync failed on this request; its log calls it {number}")


def _say(response: Response, status: int, title: str, detail: str, errors: list[FieldError] | None = None) -> None:
    response.status = status
    response.content_type = CONTENT_TYPE
    response.data = msgspec.json.encode(document(status, title, detail, errors))
