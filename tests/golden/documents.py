"""Schemas of documents as a reference shows them: a paragraph each."""

from collections.abc import Iterator, Mapping
from typing import Any


def documents(schemas: Mapping[str, Any]) -> Iterator[str]:
    """Every document of an answer: its keys, what they hold, and whether they may be missing (`?`)."""
    for name, schema in sorted(schemas.items()):
        if name.startswith("PageOf"):
            continue
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
            required = schema.get("required", [])
            keys = (
                f"`{key}`{'' if key in required else '?'} {kind(entry)}"
                for key, entry in schema.get("properties", {}).items()
            )
            words = schema.get("description", "").partition("\n\n")[0].replace("\n", " ")
            yield f"**{name}.** {words}{' ' if words else ''}{', '.join(keys)}."
        elif "enum" in schema:
            yield f"**{name}.** One of {', '.join(f'`{value}`' for value in schema['enum'])}."


def kind(schema: Any) -> str:
    """What a key holds, in a few words."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(kind(entry) for entry in schema["anyOf"])
    if "enum" in schema:
        return "/".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"map of {kind(schema['additionalProperties'])}"
    if schema.get("format") == "date-time":
        return "moment"
    names = {"string": "text", "integer": "integer", "number": "number", "boolean": "true/false", "null": "null"}
    return names.get(schema.get("type"), "anything")
