"""The reference of the HTTP API is made from the document that the API itself serves at /v1/openapi.json."""

import json
from itertools import groupby

import pytest
from diagrams import table
from documents import documents
from golden import PROJECT, settle

from api.app import create_app
from api.config import ApiConfig

REFERENCE = PROJECT / "docs" / "http.md"
START, END = "<!-- generated: http -->", "<!-- end -->"


@pytest.fixture
def described():
    app = create_app(ApiConfig("postgresql://nowhere", "nats://nowhere", "redis://nowhere"))
    resource, _, _, _ = app._router.find("/v1/openapi.json")
    return json.loads(resource.document)


def test_the_reference_is_current(described):
    text = REFERENCE.read_text()
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    now = f"{before}{START}\n{reference(described)}\n{END}{after}"
    assert settle(REFERENCE, now) == now, "make golden writes it anew"


def reference(described):
    calls = [(path, method, entry) for path, methods in described["paths"].items() for method, entry in methods.items()]
    sections = []
    for kind, entries in groupby(
        sorted(calls, key=lambda call: (kind_of(call[0]), call[0])), lambda call: kind_of(call[0])
    ):
        rows = [row(path, method, entry) for path, method, entry in entries]
        sections.append(f"## {kind}\n\n" + table(("call", "does", "query", "body", "answer", "who"), rows))
    return "\n\n".join([*sections, "## Documents\n\n" + "\n\n".join(documents(described["components"]["schemas"]))])


def kind_of(path):
    """What a path is about: the word after the version."""
    parts = path.strip("/").split("/")
    return parts[1] if parts[0] == "v1" else "without /v1"


def names_in(message):
    """The documents of a request or an answer."""
    (schema,) = [entry.get("schema", {}) for entry in message.get("content", {}).values()] or [{}]
    return [entry["$ref"].rpartition("/")[2] for entry in [schema, *schema.get("anyOf", [])] if "$ref" in entry]


def row(path, method, entry):
    query = ", ".join(f"`{given['name']}`" for given in entry["parameters"] if given["in"] == "query")
    body = " or ".join(names_in(entry.get("requestBody", {}))).replace("Nothing", "")
    (status,) = (code for code in entry["responses"] if code != "default")
    success = entry["responses"][status]
    named = " or ".join(f"`{name}`" for name in names_in(success))
    said = "" if success["description"] == entry["summary"] else success["description"]
    answer = f"{status}: {named or said}" if named or said else status
    who = entry["x-access"] + (f", `{entry['x-scope']}`" if "x-scope" in entry else "")
    cells = (f"`{method.upper()} {path}`", entry["summary"], query, f"`{body}`" if body else "", answer, who)
    return [cell.replace("|", "\\|") for cell in cells]
