"""What keys do to an entry, from its list or from its own screen: a question first where it cannot be undone. Pure."""

import shlex
from urllib.parse import quote

from cli import cells
from cli.tui.kinds import Action, Kind
from cli.tui.lines import Line, keys, text
from cli.tui.screens import Answer, Ask, Failed, Message, Wishes


class Acting:
    """`notice` says what was done and what came of it."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._pending: tuple[Action, str] | None = None  # waits for a yes
        self._makes_a_job = False
        self.notice = ""

    @property
    def asks(self) -> bool:
        return self._pending is not None

    def begin(self, action: Action, name: str) -> Wishes:
        if action.asks:
            self._pending = (action, name)
            return []
        return self._do(action, name)

    def answer(self, key: str) -> Wishes:
        """Take the key that answers the question."""
        assert self._pending is not None
        (action, name), self._pending = self._pending, None
        return self._do(action, name) if key in ("y", "Y") else []

    def take(self, message: Message) -> bool:
        """Tell whether something was done, so that it is time to look again."""
        match message:
            case Answer(tag="act", document=document):
                made = f", it made the job {document['id']}" if self._makes_a_job else ""
                self.notice = f"{self.notice}: done{made}"
                return True
            case Failed(tag="act", sentence=sentence):
                self.notice = f"{self.notice}: {sentence}"
            case _:
                pass
        return False

    def said(self) -> Line:
        return [("warn", f"  {cells.escape(self.notice)}")]

    def question(self) -> list[Line]:
        assert self._pending is not None
        action, name = self._pending
        return [text(f"{action.command} {name}: are you sure?", "warn"), keys((("y", "yes"), ("any other", "no")))]

    def _do(self, action: Action, name: str) -> Wishes:
        self.notice = f"{action.command} {shlex.quote(name)}"
        self._makes_a_job = action.makes_a_job
        path = f"{self._kind.path}/{quote(name, safe='')}" + (f"/{action.path}" if action.path else "")
        return [Ask("act", path, method=action.method)]
