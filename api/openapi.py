"""The OpenAPI document, made from what the routes declare."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from types import UnionType
from typing import Any, Final, get_args, get_origin

import msgspec
from msgspec import Struct

from api import scopes
from api.access import Access
from api.endpoint import Endpoint
from swarmsync.protocol.schema import describe

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


@cache
def document(routes: tuple[RouteEntry, ...]) -> bytes:
    """Return the whole document as JSON."""
    kinds: list[Any] = [Problem]
    for route in routes:
        kinds += [*_kinds(route.endpoint.body), *_kinds(route.endpoint.answer)]
    kinds = sorted(dict.fromkeys(kinds), key=str)
    roots, schemas = describe(kinds, _REFERENCE)
    known = dict(zip(kinds, roots, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, known)
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "SwarmSync", "version": version("swarmsync")},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }
    return msgspec.json.encode(whole)


def _kinds(kind: Any) -> tuple[Any, ...]:
    """Return the types that a declaration names: those of a union, none for a sentence."""
    if kind is None or isinstance(kind, str):
        return ()
    return get_args(kind) if get_origin(kind) is UnionType else (kind,)


def _schema(kind: Any, known: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of what a declaration names; an empty one for a sentence."""
    kinds = _kinds(kind)
    if len(kinds) > 1:
        return {"anyOf": [known[entry] for entry in kinds]}
    return known[kinds[0]] if kinds else {}


def _operation(route: RouteEntry, known: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    entry = route.endpoint
    success: dict[str, Any] = {"description": entry.answer if isinstance(entry.answer, str) else entry.summary}
    if entry.answer is not None:
        success["content"] = {entry.media: {"schema": _schema(entry.answer, known)}}
    operation: dict[str, Any] = {
        "summary": entry.summary,
        "parameters": [*_path_parameters(route.path), *_query_parameters(entry.query)],
        "responses": {str(entry.status): success, "default": _PROBLEM},
        "security": [] if entry.access is Access.PUBLIC else [{"token": []}],
        "x-access": entry.access.value,
    }
    if entry.access is not Access.PUBLIC and scopes.needed(route.method, route.path) != scopes.ANY_TOKEN:
        operation["x-scope"] = scopes.needed(route.method, route.path)
    if _kinds(entry.body):
        operation["requestBody"] = {"content": {"application/json": {"schema": _schema(entry.body, known)}}}
    return operation


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(query: type[Struct]) -> list[dict[str, Any]]:
    _, schemas = msgspec.json.schema_components([query])
    properties = schemas[query.__name__]["properties"]
    return [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]
