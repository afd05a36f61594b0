"""The reference of the job spec is made from its JSON Schema, and every field of it has a sentence."""

from diagrams import table
from golden import PROJECT, settle

from swarmsync.model.spec import JobSpec
from swarmsync.protocol.schema import SENTENCES, default_of, job_schema

REFERENCE = PROJECT / "docs" / "spec.md"
START, END = "<!-- generated: spec -->", "<!-- end -->"


def written(field):
    """How a field is written, in a few words."""
    if "$ref" in field:
        return f"[{field['$ref'].rpartition('/')[2]}](#{field['$ref'].rpartition('/')[2].lower()})"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(written(entry) for entry in field["anyOf"] if entry.get("type") != "null"))
    kind = field.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array" and isinstance(field.get("items"), dict):
        return f"list of {written(field['items'])}"
    if kind == "string" and field.get("format") == "date-time":
        return "time"
    low, high = field.get("minimum", field.get("exclusiveMinimum")), field.get("maximum")
    return f"{kind} {low}-{high}" if low is not None and high is not None else kind


def reference():
    schema = job_schema()
    parts = []
    for name, entry in {"JobSpec": schema, **schema["$defs"]}.items():
        if name not in SENTENCES:
            continue
        required = entry.get("required", ())
        rows = [
            (
                f"`{field}`" + (" (required)" if field in required else ""),
                written(about).replace("|", "\\|"),
                f"`{default_of(about['default'])}`" if default_of(about.get("default")) else "",
                SENTENCES[name].get(field, "").replace("|", "\\|"),
            )
            for field, about in entry["properties"].items()
        ]
        title = "All fields" if name == "JobSpec" else name
        parts.append(f"## {title}\n\n" + table(("field", "written", "default", "what it is for"), rows))
    return "\n\n".join(parts)


def test_the_reference_is_current():
    text = REFERENCE.read_text()
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    now = f"{before}{START}\n{reference()}\n{END}{after}"
    assert settle(REFERENCE, now) == now, "make golden writes it anew"


def test_every_field_of_a_spec_has_a_sentence():
    schema = job_schema()
    found = {"JobSpec": schema, **schema["$defs"]}
    missing = [
        f"{name}.{field}"
        for name, entry in found.items()
        for field in entry["properties"]
        if field not in SENTENCES.get(name, {})
    ]
    assert missing == []
    assert set(SENTENCES["JobSpec"]) == set(JobSpec.__struct_fields__)


def test_defaults_are_those_that_a_spec_gets():
    schema = job_schema()
    told = {
        f"{kind}.{field}": default_of(schema["$defs"][kind]["properties"][field]["default"])
        for kind, field in (("Resources", "memory"), ("Stop", "grace"), ("Retry", "delay"), ("Retry", "max_delay"))
    }
    assert told == {"Resources.memory": "512MiB", "Stop.grace": "10s", "Retry.delay": "10s", "Retry.max_delay": "10m"}
    assert job_schema() == schema, "asking twice changes nothing"
