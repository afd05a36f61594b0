"""Questions to people: only on a terminal. A program is never kept waiting for an answer that nobody gives."""

import sys
from typing import Annotated

import typer

Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")]


def terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Ask before what cannot be undone; without a terminal or with --yes it is meant. A no ends the command with 1."""
    if not yes and terminal():
        typer.confirm(question, abort=True, err=True)


def ask(question: str, instead: str, *, hidden: bool = False, twice: bool = False) -> str:
    """Return what was typed; `instead` names the flag for those who have no terminal."""
    if not terminal():
        raise typer.BadParameter(f"there is no terminal to ask on; give {instead}")
    answer: str = typer.prompt(question, hide_input=hidden, confirmation_prompt=twice, err=True)
    return answer
