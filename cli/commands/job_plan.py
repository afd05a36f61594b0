"""`job plan`: where and when a job would start, before it is submitted."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli import cells
from cli.bundles import bundled, examples
from cli.commands.job_create import read_given, with_parents
from cli.exits import ANSWER_IS_NO, NEVER
from cli.output import Document, OneView, show_each
from cli.spec_flags import SpecFlags, SubmitFlags

if TYPE_CHECKING:
    from swarmsync.client import Client

app = typer.Typer()
#: With one of these in its way a job asks for more than its user may have.
_OVER_QUOTA: Final = frozenset({"UserQuota"})

File = Annotated[str, typer.Option("-f", "--file", metavar="FILE", help="Specs in YAML or JSON; - is stdin.")]
Image = Annotated[str, typer.Argument(metavar="IMAGE", help="The image, when there is no file.")]
Command = Annotated[list[str] | None, typer.Argument(metavar="CMD", help="The command and its arguments.")]
PLAN_EXAMPLES = examples(
    "consumer job plan -f job.yaml",
    "consumer job plan --cpus 8 -m 16g alpine:3.20 make",
    "consumer job plan -f job.yaml -o json",
)


@app.command("plan", epilog=PLAN_EXAMPLES, context_settings={"allow_interspersed_args": False})
@bundled
def plan(
    *,
    flags: SpecFlags,
    more: SubmitFlags,
    view: OneView,
    file: File = "",
    image: Image = "",
    command: Command = None,
) -> None:
    """Tell where and when jobs would start, and why not at once; changes nothing.

    Exit code 0 when all would start at once, 1 when one would wait, 8 when one never could or its user has had enough.
    """
    from cli.profiles import connect

    codes: list[int] = []

    def planned(client: "Client", specs: list[Document]) -> Iterator[Document]:
        for spec in specs:
            answer = client.plan(with_parents(client, spec))
            codes.append(_code(answer))
            yield answer

    with connect() as client:
        specs = read_given(file, image, command, {**flags.document(), **more.document()})
        show_each(view, planned(client, specs), _told, several=len(specs) > 1)
    if any(codes):
        raise typer.Exit(max(codes))


def _code(answer: Document) -> int:
    if answer["verdict"] == "now":
        return 0
    reasons = {blocker["reason"] for blocker in answer["blockers"]}
    return NEVER if answer["verdict"] == "never" or reasons & _OVER_QUOTA else ANSWER_IS_NO


def _told(answer: Document) -> str:
    plain = cells.plain
    lines = [_capital(plain(answer["message"])) + "."]
    if answer.get("starts_at") and answer["verdict"] != "now":
        lines.append(f"It is expected to start at {plain(answer['starts_at'])}.")
    if answer.get("position") is not None:
        lines.append(f"Its place in the line would be {answer['position']}.")
    blockers: list[Any] = answer.get("blockers") or []
    if len(blockers) > 1:
        lines += ["In its way:", *(f"- {plain(b['reason'])}: {plain(b.get('message'))}" for b in blockers)]
    helps = answer.get("would_start_if") or []
    if helps:
        lines += ["It would start if:", *(f"- {plain(entry)}" for entry in helps)]
    return "".join(f"{line}\n" for line in lines)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
