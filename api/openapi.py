"""The OpenAPI document, made from what the routes declare."""

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from api import scopes
from api.access import Access
from api.endpoint import Endpoint
from swarmsync.protocol.schema import components, is_struct

_PROBLEM: Final = {
    "description": "A problem document",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_REFERENCE: Final = "#/components/schemas/{name}"


class Problem(Struct):
    """RFC 9457; `errors` names the wrong fields as `$.jobs[17].image` or `?limit`."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = []


class RouteEntry(Struct, frozen=True):
    method: str
    path: str
    endpoint: Endpoint


def document(entries: Iterable[RouteEntry], version: str) -> bytes:
    """Return the whole document as JSON."""
    routes = list(entries)
    kinds = {Problem, *(kind for r in routes for kind in (r.endpoint.body, r.endpoint.answer) if is_struct(kind))}
    schemas = components(kinds, _REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "SwarmSync", "version": version},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }
    return msgspec.json.encode(whole)


def _operation(route: RouteEntry) -> dict[str, Any]:
    entry = route.endpoint
    success: dict[str, Any] = {"description": entry.answer if isinstance(entry.answer, str) else entry.summary}
    if is_struct(entry.answer):
        success["content"] = {"application/json": {"schema": _reference(entry.answer)}}
    operation: dict[str, Any] = {
        "summary": entry.summary,
        "parameters": [*_path_parameters(route.path), *_query_parameters(entry.query)],
        "responses": {str(entry.status): success, "default": _PROBLEM},
        "security": [] if entry.access is Access.PUBLIC else [{"token": []}],
        "x-access": entry.access.value,
    }
    if entry.access is not Access.PUBLIC and scopes.needed(route.method, route.path) != scopes.ANY_TOKEN:
        operation["x-scope"] = scopes.needed(route.method, route.path)
    if is_struct(entry.body):
        operation["requestBody"] = {"content": {"application/json": {"schema": _reference(entry.body)}}}
    return operation


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(query: type[Struct]) -> list[dict[str, Any]]:
    _, schemas = msgspec.json.schema_components([query])
    properties = schemas[query.__name__]["properties"]
    return [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]


def _reference(kind: type[Struct]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=kind.__name__)}
