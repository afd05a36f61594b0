"""Forms of the menu: fields that are checked by Core while one types, and the command that does the same. Pure."""

import math
import shlex
from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from cli import cells
from cli.tui.lines import Line, Page, frame, keys, spread, text, wrapped
from cli.tui.screens import Answer, Ask, Document, Failed, Leave, Message, Prompt, Quit, Wishes

#: Core is asked when nothing was typed for this long.
PAUSE_S: Final = 0.25
_LABEL: Final = 14


class Field(Struct, frozen=True):
    """One line of a form. `path` is where its value goes in the document, `flag` how the command line says it."""

    label: str
    path: str
    flag: str
    hint: str
    kind: Literal["text", "number", "pairs", "more"] = "text"  # `more` counts from one: retries make attempts


class Form(Struct, frozen=True):
    title: str
    path: str
    check: str
    command: str
    fields: Sequence[Field]
    job: str = ""  # where the job's spec is within the document


_JOB_FIELDS: Final = (
    Field("image", "image", "", "alpine:3.20; needed"),
    Field("command", "command", "", "as in a shell: echo 'hello there'"),
    Field("name", "name", "--name", "for people"),
    Field("cpus", "resources.cpus", "--cpus", "1", "number"),
    Field("memory", "resources.memory", "--memory", "512MiB"),
    Field("environment", "environment", "-e", "A=1 B='two words'", "pairs"),
)
JOB: Final = Form(
    "New job",
    "/v1/jobs",
    "/v1/jobs/validate",
    "consumer job create",
    (
        *_JOB_FIELDS,
        Field("labels", "labels", "--label", "team=ml", "pairs"),
        Field("queue", "queue", "--queue", "default"),
        Field("priority", "priority", "--priority", "0-100, higher first; 50", "number"),
        Field("timeout", "timeout", "--timeout", "90s, 15m, 2h; none"),
        Field("retries", "retry.attempts", "--retries", "0", "more"),
        Field("delay", "delay", "--delay", "start not before: 15m"),
    ),
)
SCHEDULE: Final = Form(
    "New schedule",
    "/v1/schedules",
    "/v1/schedules/preview",
    "consumer schedule create",
    (
        Field("cron", "cron", "--cron", "H 2 * * *, @daily; needed"),
        Field("time zone", "timezone", "--tz", "UTC; Europe/Berlin"),
        Field("overlap", "overlap", "--overlap", "skip; allow, queue, replace"),
        Field("misfire", "misfire", "--misfire", "last; none, all"),
        Field("schedule", "name", "--name", "its name; one is made"),
        *(field for field in _JOB_FIELDS if field.label != "name"),
    ),
    job="job",
)
FORMS: Final = {"job": JOB, "schedule": SCHEDULE}


class FormScreen:
    """The state of a form: a prompt for each field and what Core says of it; behind the last field is the button."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.prompts = [Prompt() for _ in form.fields]
        self.place = 0
        self.errors: dict[str, str] = {}  # by the field's path
        self.verdict = ""
        self.notice = ""
        self._typed_at: float | None = None
        self._checks = 0
        self._sent = False

    def start(self, now: float) -> Wishes:
        self._typed_at = now
        return []

    # --- what happens -------------------------------------------------------------------------------------------------

    def take(self, message: Message, now: float) -> Wishes:  # noqa: ARG002 every screen hears the time
        match message:
            case Answer(tag=tag, document=document) if tag == f"check.{self._checks}":
                self.errors, self.verdict = {}, _praise(document)
            case Failed(tag=tag) if tag == f"check.{self._checks}":
                self._blame(message)
            case Answer(tag="make"):
                return [Leave()]
            case Failed(tag="make"):
                self._sent = False
                self._blame(message)
            case _:
                pass
        return []

    def tick(self, now: float) -> Wishes:
        if self._typed_at is None or now - self._typed_at < PAUSE_S:
            return []
        self._typed_at = None
        self._checks += 1
        document = self.document()
        if self.form.job and "image" not in document[self.form.job]:
            del document[self.form.job]  # the times are checked alone until there is an image
        return [Ask(f"check.{self._checks}", self.form.check, method="POST", body=document)]

    def press(self, key: str, now: float) -> Wishes:
        match key:
            case "f2":
                return self._make()
            case "enter" if self.place == len(self.prompts):
                return self._make()
            case "down" | "tab" | "enter":
                self.place = (self.place + 1) % (len(self.prompts) + 1)
            case "up" | "shift tab":
                self.place = (self.place - 1) % (len(self.prompts) + 1)
            case "esc":
                return [Leave()]
            case "ctrl q":
                return [Quit()]
            case _ if self.place < len(self.prompts):
                before = self.prompts[self.place].value
                self.prompts[self.place].press(key)
                if self.prompts[self.place].value != before:
                    self._typed_at = now
            case _:
                pass
        return []

    def click(self, target: str, now: float) -> Wishes:  # noqa: ARG002 every screen hears the time
        if target == "make":
            return self._make()
        self.place = int(target)
        return []

    def _make(self) -> Wishes:
        if self._sent:
            return []
        self._sent, self.notice = True, "sending ..."
        return [Ask("make", self.form.path, method="POST", body=self.document(), once=True)]

    def _blame(self, failed: Failed) -> None:
        self.notice = ""
        self.errors = {self._field_of(path): message for path, message in failed.errors}
        others = [message for path, message in failed.errors if not self._field_of(path)]
        self.verdict = failed.sentence if failed.gone or not failed.errors else "; ".join(others)

    def _field_of(self, path: str) -> str:
        """Return the path of the field that an error is about, or nothing."""
        plain = path.removeprefix("$").removeprefix(".")
        if self.form.job:
            plain = plain.removeprefix(f"{self.form.job}.")
        known = [field.path for field in self.form.fields]
        return next((name for name in known if plain == name or plain.startswith((f"{name}.", f"{name}["))), "")

    # --- what is made of it -------------------------------------------------------------------------------------------

    def document(self) -> Document:
        """Return the document of what was typed; empty fields are left to Core's defaults."""
        outer: Document = {}
        inner: Document = {}
        times = ("cron", "timezone", "overlap", "misfire", "name")
        for field, prompt in zip(self.form.fields, self.prompts, strict=True):
            if prompt.value.strip():
                target = inner if self.form.job and field.path not in times else outer
                _put(target, field.path.split("."), _value(field, prompt.value.strip()))
        return {**outer, self.form.job: inner} if self.form.job else outer

    def command(self) -> str:
        words, image, command = self.form.command.split(), "", ""
        for field, prompt in zip(self.form.fields, self.prompts, strict=True):
            value = prompt.value.strip()
            if field.path == "image":
                image = value
            elif field.path == "command":
                command = value
            elif value:
                values = _split(value) if field.kind == "pairs" else [value]
                words += [word for each in values for word in (field.flag, each)]
        return " ".join([*map(shlex.quote, words), *([shlex.quote(image)] if image else ["IMAGE"]), command]).rstrip()

    # --- what is shown ------------------------------------------------------------------------------------------------

    def view(self, columns: int, rows: int, now: float) -> Page:  # noqa: ARG002 every screen is told the time
        head: list[Line] = [spread([("title", f" {self.form.title} ")], [], columns), []]
        body: list[Line] = []
        targets: dict[int, str] = {}
        cursor = None
        for index, (field, prompt) in enumerate(zip(self.form.fields, self.prompts, strict=True)):
            row = len(head) + len(body)
            targets[row] = str(index)
            style = "head" if index == self.place else "dim"
            value: Line = [("", cells.escape(prompt.value))] if prompt.value else [("dim", f"({field.hint})")]
            mark = ">" if index == self.place else " "
            body.append([(style, f"{mark} {field.label:<{_LABEL}} "), *value])
            if index == self.place:
                cursor = (_LABEL + 3 + cells.width(cells.escape(prompt.value[: prompt.place])), row)
            if field.path in self.errors:
                body.append(text(" " * (_LABEL + 3) + self.errors[field.path], "bad"))
        targets[len(head) + len(body)] = "make"
        body.append(
            [("chosen" if self.place == len(self.prompts) else "key", f"  [ create: {self.form.title.lower()} ]  ")]
        )
        style = "good" if self._fine() and not self.errors else "warn"
        body += [[], *(text(line, style) for line in self._verdict(columns))]
        line = wrapped(f"$ {self.command()}", columns)[:2]
        bottom = keys((("f2", "create"), ("up down", "field"), ("esc", "leave")))
        foot = [*(text(words, "dim") for words in line), bottom]
        return Page(frame(head, body, foot, columns, rows), targets, cursor)

    def _fine(self) -> bool:
        return self.verdict.startswith("valid")

    def _verdict(self, columns: int) -> list[str]:
        words = self.notice or self.verdict
        return wrapped(words, columns) if words else []


def _praise(document: Any) -> str:
    """Return what Core makes of a valid document: the amounts of a job, the next fires of a schedule."""
    fires = [fire.get("local") or fire.get("at") for fire in document.get("items") or []]
    if fires:
        return "valid; next fires " + ", ".join(map(str, fires[:3]))
    wants = document.get("resources") or {}
    return f"valid; {cells.plain(wants.get('cpus', 1))} cpus, {cells.plain(wants.get('memory', '512MiB'))} memory"


def _value(field: Field, typed: str) -> Any:
    """Return what was typed as the document wants it; what is no number is left for Core to refuse."""
    match field.kind:
        case "number" | "more":
            try:
                number = float(typed)
            except ValueError:
                return typed
            if not math.isfinite(number):
                return typed
            whole = int(number) if number == int(number) else number
            return whole + 1 if field.kind == "more" else whole
        case "pairs":
            return dict(_pair(word) for word in _split(typed))
        case _:
            return typed


def _pair(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value


def _split(typed: str) -> list[str]:
    try:
        return shlex.split(typed)
    except ValueError:  # a quotation that is still open
        return typed.split()


def _put(target: Document, path: list[str], value: Any) -> None:
    *parents, name = path
    for parent in parents:
        target = target.setdefault(parent, {})
    target[name] = value
