"""What the API publishes of its answers, held against what it answers: strictly, so that no key stays unpublished."""

import copy
import json
import re
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from swarmsync.protocol.schema import describe

#: Of a long list so many entries are looked at.
ITEMS_MAX = 25
_HERE = "urn:swarmsync:openapi"


class Published:
    """The OpenAPI document; an object with keys that its schema does not name is wrong here."""

    def __init__(self, document: bytes, *more: type) -> None:
        """`more` are types of documents that programs print and the API does not answer."""
        self.document = json.loads(document)
        _, own = describe(more, "#/components/schemas/{name}")
        self.schemas = self.document["components"]["schemas"] | own
        strict = {"components": {"schemas": {name: _strict(schema) for name, schema in self.schemas.items()}}}
        self._registry: Any = Registry().with_resource(_HERE, Resource(strict, DRAFT202012))
        self._paths = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "$"), path) for path in self.document["paths"]]
        self._paths.sort(key=lambda entry: entry[1].count("{"))
        self._validators: dict[str, Draft202012Validator] = {}

    def wrong(self, schema: dict[str, Any], value: Any) -> str:
        """Say what of `value` does not fit; empty where all does."""
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            self._validators[key] = Draft202012Validator(_strict(schema), registry=self._registry)
        problems = sorted(self._validators[key].iter_errors(_shortened(value)), key=lambda problem: problem.path)
        return "; ".join(f"{problem.json_path}: {_deepest(problem).message[:300]}" for problem in problems[:3])

    def wrong_named(self, name: str, value: Any) -> str:
        return self.wrong({"$ref": f"#/components/schemas/{name}"}, value)

    def wrong_answer(self, method: str, target: str, status: int, media: str, content: bytes) -> str:
        """Say what is wrong with an answer of the API; empty for what is no JSON, or of no route."""
        media = media.partition(";")[0].strip()
        path = next((path for pattern, path in self._paths if pattern.match(target.partition("?")[0])), None)
        operation = self.document["paths"].get(path, {}).get(method.lower())
        if operation is None or not content or not media.endswith("json"):
            return ""
        (success,) = (code for code in operation["responses"] if code != "default")
        told = operation["responses"]["default" if media == "application/problem+json" else success]
        if media not in told.get("content", {}):
            return f"{method} {path} answers {media}; published is {sorted(told.get('content', {})) or 'no content'}"
        lines = content.splitlines() if media == "application/x-ndjson" else [content]
        problems = [self.wrong(told["content"][media]["schema"], json.loads(line)) for line in lines[:ITEMS_MAX]]
        return next((f"{method} {path} ({status}): {problem}" for problem in problems if problem), "")


def _strict(schema: Any) -> Any:
    schema = copy.deepcopy(schema)
    pending = [schema]
    while pending:
        found = pending.pop()
        if isinstance(found, dict):
            if found.get("type") == "object" and "properties" in found:
                found.setdefault("additionalProperties", False)
            if str(found.get("$ref", "")).startswith("#"):
                found["$ref"] = _HERE + found["$ref"]
            pending += found.values()
        elif isinstance(found, list):
            pending += found
    return schema


def _shortened(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("items"), list):
        return {**value, "items": value["items"][:ITEMS_MAX]}
    return value


def _deepest(problem: Any) -> Any:
    while problem.context:
        problem = max(problem.context, key=lambda entry: len(entry.absolute_path))
    return problem
