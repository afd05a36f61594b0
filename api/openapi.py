"""The OpenAPI document, made from what the routes declare."""

import functools
import operator
import re
import types
from collections.abc import Iterable
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, UNSET, Struct

from api import scopes
from api.access import Access
from api.endpoint import Endpoint
from swarmsync.model.fields import Duration, Environment, Size, Words, enc_hook

#: How field types that people may write in several ways are described.
_WRITTEN: Final[dict[type, dict[str, Any]]] = {
    Duration: {"description": "90s, 15m, 2h, 1d; a number counts seconds", "type": ["string", "number"]},
    Size: {"description": "256MiB, 1GiB, 512m; a number counts bytes", "type": ["string", "integer"]},
    Words: {"description": "a line or a list of words", "type": ["string", "array"]},
    Environment: {"description": "names and values, or a list of NAME=value", "type": ["object", "array"]},
}
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
    kinds = {Problem, *(kind for r in routes for kind in (r.endpoint.body, r.endpoint.answer) if _is_struct(kind))}
    twins: dict[type, type[Struct]] = {}
    plain = [_twin(kind, twins) for kind in sorted(kinds, key=lambda kind: kind.__name__)]
    _, schemas = msgspec.json.schema_components(plain, schema_hook=_schema, ref_template=_REFERENCE)
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


def _schema(kind: type) -> dict[str, Any]:
    if kind not in _WRITTEN:
        raise NotImplementedError(kind)
    return _WRITTEN[kind]


def _operation(route: RouteEntry) -> dict[str, Any]:
    entry = route.endpoint
    success: dict[str, Any] = {"description": entry.answer if isinstance(entry.answer, str) else entry.summary}
    if _is_struct(entry.answer):
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
    if _is_struct(entry.body):
        operation["requestBody"] = {"content": {"application/json": {"schema": _reference(entry.body)}}}
    return operation


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(query: type[Struct]) -> list[dict[str, Any]]:
    _, schemas = msgspec.json.schema_components([query])
    properties = schemas[query.__name__]["properties"]
    return [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]


def _twin(kind: type[Struct], twins: dict[type, type[Struct]]) -> type[Struct]:
    """Return a Struct of the same fields whose defaults are plain values: msgspec describes no others."""
    if kind not in twins:
        fields: list[Any] = []
        for entry in msgspec.structs.fields(kind):
            annotation = _with_twins(entry.type, twins)
            if entry.required:
                fields.append((entry.encode_name, annotation))
                continue
            has_plain = entry.default not in (NODEFAULT, UNSET)
            default = msgspec.to_builtins(entry.default, enc_hook=enc_hook) if has_plain else entry.default
            simple = default is None or default is UNSET or isinstance(default, str | int | float)
            fields.append(
                (entry.encode_name, annotation, default if simple else msgspec.field(default_factory=lambda: None))
            )
        twins[kind] = msgspec.defstruct(
            kind.__name__,
            fields,
            namespace={"__doc__": kind.__doc__},
            forbid_unknown_fields=kind.__struct_config__.forbid_unknown_fields,
        )
    return twins[kind]


def _with_twins(annotation: Any, twins: dict[type, type[Struct]]) -> Any:
    if _is_struct(annotation):
        return _twin(annotation, twins)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if not arguments or origin is None:
        return annotation
    if origin is Annotated:
        return Annotated[(_with_twins(arguments[0], twins), *arguments[1:])]
    inner = tuple(_with_twins(argument, twins) for argument in arguments)
    if origin in (Union, types.UnionType):
        return functools.reduce(operator.or_, inner)
    generic: Any = origin
    return generic[inner] if isinstance(origin, type) else annotation


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _reference(kind: type[Struct]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=kind.__name__)}
