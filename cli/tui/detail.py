"""One job from close by: what is known of it, why it does not start, and what it writes, as it writes it. Pure."""

import shlex
from typing import Any, Final

from cli import cells
from cli.tui.lines import Line, spread, style_of, text, wrapped
from cli.tui.screens import LOOK_S, Answer, Ask, Failed, FollowLogs, Message, Output, Wishes
from swarmsync.calls import FINAL_STATES, job_path

TABS: Final = ("detail", "why", "logs")
#: Of a job's output the last lines are kept.
LINES_MAX: Final = 2_000


class JobDetail:
    """The panel of one job; `tab` is what it shows."""

    def __init__(self, job: str, tab: str = "detail") -> None:
        self.job = job
        self.tab = tab
        self.scroll = 0  # lines back from the end (logs) or down from the top (the others)
        self._documents: dict[str, Any] = {}
        self._problem = ""
        self._output: list[str] = [""]
        self._looked = 0.0

    @property
    def name(self) -> str:
        return cells.escape((self._documents.get("detail") or {}).get("name") or "")

    @property
    def is_array(self) -> bool:
        """Whether this is a whole array; its members are jobs of their own."""
        return (self._documents.get("detail") or {}).get("array") is not None

    def standing(self) -> Line:
        """The job's state, or that Core is away, for the end of a title."""
        if self._problem:
            return [("alarm", f" {cells.escape(self._problem)} ")]
        state = (self._documents.get("detail") or {}).get("state", "")
        return [(style_of(state), f" {state} ")] if state else []

    def start(self, now: float) -> Wishes:
        self._looked = now
        return [*self._ask(), FollowLogs(self.job)]

    def next_tab(self) -> None:
        self.tab = TABS[(TABS.index(self.tab) + 1) % len(TABS)]
        self.scroll = 0

    def scrolled(self, lines: int) -> None:
        self.scroll = max(self.scroll + (-lines if self.tab == "logs" else lines), 0)

    def changed(self, now: float) -> Wishes:
        """The job has changed: look again."""
        self._looked = now
        return self._ask()

    def tick(self, now: float) -> Wishes:
        state = (self._documents.get("detail") or {}).get("state")
        if now - self._looked < LOOK_S or state in FINAL_STATES:
            return []
        self._looked = now
        return self._ask()

    def take(self, message: Message) -> None:
        match message:
            case Answer(tag=tag, document=document) if tag in self._tags():
                self._documents[tag.partition(":")[0]] = document
                self._problem = ""
            case Failed(tag=tag, sentence=sentence) if tag in self._tags():
                self._problem = sentence
            case Output(job=job, text=words) if job == self.job:
                self._write(words)
            case _:
                pass

    def lines(self, columns: int, rows: int) -> list[Line]:
        tabs: Line = []
        for tab in TABS:
            tabs += [("chosen" if tab == self.tab else "dim", f" {tab} "), ("", " ")]
        head = spread(tabs, [("dim", self.job)], columns)
        body = self._body(columns)
        room = max(rows - 1, 0)
        if self.tab == "logs":
            self.scroll = min(self.scroll, max(len(body) - room, 0))
            end = len(body) - self.scroll
            return [head, *body[max(end - room, 0) : end]]
        self.scroll = min(self.scroll, max(len(body) - room, 0))
        return [head, *body[self.scroll : self.scroll + room]]

    def _tags(self) -> tuple[str, str]:
        return f"detail:{self.job}", f"why:{self.job}"

    def _ask(self) -> Wishes:
        detail, why = self._tags()
        return [Ask(detail, job_path(self.job)), Ask(why, job_path(self.job, "why"))]

    def _write(self, words: str) -> None:
        first, *rest = words.split("\n")
        self._output[-1] += first
        self._output += rest
        del self._output[:-LINES_MAX]

    def _body(self, columns: int) -> list[Line]:
        if self.tab == "logs":
            kept = self._output if self._output[-1] else self._output[:-1]
            return [text(line) for words in kept for line in wrapped(words.expandtabs(), columns)] or [
                [("dim", "nothing written yet")]
            ]
        document = self._documents.get(self.tab)
        if document is None:
            return [[("bad" if self._problem else "dim", cells.escape(self._problem or "asking ..."))]]
        if self.tab == "why":
            return [text(line) for words in _why(document) for line in wrapped(words, columns)]
        return [line for name, value in _facts(document) for line in _fact(name, value, columns)]


def _fact(name: str, value: str, columns: int) -> list[Line]:
    lines = wrapped(cells.escape(value), max(columns - 13, 20))
    first: Line = [("dim", f"{name:<12} "), (style_of(value), lines[0])]
    return [first, *([("", " " * 13 + line)] for line in lines[1:])]


def _facts(job: Any) -> list[tuple[str, str]]:
    plain = cells.plain
    spec = job.get("spec") or {}
    wants = spec.get("resources") or {}
    facts = [
        ("state", plain(job["state"])),
        ("reason", ": ".join(part for part in (job.get("reason"), job.get("message")) if part)),
        ("exit code", plain(job.get("exit_code"))),
        ("name", plain(job.get("name"))),
        ("image", plain(spec.get("image"))),
        ("command", shlex.join(map(str, [*(spec.get("entrypoint") or []), *(spec.get("command") or [])]))),
        ("user", f"{plain(job['user'])}, queue {plain(job['queue'])}, priority {plain(job['priority'])}"),
        ("wants", f"{plain(wants.get('cpus', 1))} cpus, {plain(wants.get('memory', '512MiB'))} memory"),
        ("members", _members(job.get("array") or {})),
        ("worker", plain(job.get("worker"))),
        ("labels", plain(job.get("labels"))),
        ("submitted", cells.instant(job.get("submitted_at"))),
        ("started", cells.instant(job.get("started_at"))),
        ("finished", cells.instant(job.get("finished_at"))),
    ]
    for entry in job.get("assignments") or []:
        words = [entry.get("outcome") or entry.get("state"), f"on {entry.get('worker')}", entry.get("reason")]
        words += [entry.get("message")]
        facts.append((f"attempt {entry.get('attempt')}", " ".join(str(word) for word in words if word)))
    return [(name, value) for name, value in facts if value not in ("", "-")]


def _members(array: Any) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in (array.get("by_state") or {}).items())
    return f"{array['total']}: {counts}" if counts else ""


def _why(answer: Any) -> list[str]:
    if answer["state"] in FINAL_STATES:
        return [f"The job has ended: {answer['state']}."]
    lines = [f"The job is {answer['state']}."]
    if answer.get("position") is not None:
        lines.append(f"Its place in the line is {answer['position']}.")
    lines += [f"- {entry['reason']}: {entry.get('message') or ''}" for entry in answer.get("blockers") or []]
    helps = answer.get("would_start_if") or []
    return [*lines, *(["It would start if:"] if helps else []), *(f"- {entry}" for entry in helps)]
