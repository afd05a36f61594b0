"""What the documents show is run: blocks marked `runnable` against one Core, and what they print is compared.

    ```python runnable      the page's Python blocks are one program, up to here
    ```text output          what the last block prints
    ```sh runnable          lines after `$ ` are typed, and answer with the lines that follow

Ids, numbers and runs of spaces count as alike, and `...` stands for anything.
"""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.timeout(180)]

PROJECT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+) (runnable|output)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BETWEEN = "\x01"
SETTINGS = """
[worker]
runtime = "docker"
name = "ada-laptop"
[webhooks]
allow_networks = ["127.0.0.0/8"]
"""


class Block(NamedTuple):
    kind: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    return [Block(m[1], m[3], text[: m.start()].count("\n") + 1) for m in BLOCK.finditer(text)]


PAGES = [page for page in [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))] if blocks_of(page)]


def alike(text: str) -> str:
    text = re.sub(r"\b0[0-9a-z]{12}\b", "ID", text)
    return re.sub(r"[ \t]+", " ", re.sub(r"\d+(\.\d+)?", "0", text)).strip()


def compare(said: str, shown: str, where: str) -> None:
    pattern = ".*?".join(re.escape(alike(part)) for part in shown.split("..."))
    assert re.fullmatch(pattern, alike(said), re.DOTALL), f"{where} shows\n{shown}\nand printed\n{said}"


@pytest.fixture(scope="module")
def core(make_module_core, image):
    core = make_module_core(SETTINGS)
    core.ready()
    (core.directory / ".venv").symlink_to(Path(sys.prefix))
    return core


def test_the_pages_that_have_examples_are_found():
    assert {"README.md", "client.md", "webhooks.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_is_what_happens(core, page):
    blocks = blocks_of(page)
    for block in blocks:
        if block.kind == "sh":
            type_all(core, block, f"{page.name}:{block.line}")
    programs = [block for block in blocks if block.kind == "python"]
    if not programs:
        return
    source = "".join(f"print({BETWEEN!r}, end='')\n{block.text}" for block in programs)
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, env=core.environ, timeout=120, check=False
    )
    assert done.returncode == 0, f"{page.name}: {done.stderr}"
    said = dict(zip(programs, done.stdout.split(BETWEEN)[1:], strict=True))
    for block, following in pairwise([*blocks, Block("", "", 0)]):
        if block.kind == "python" and following.kind == "text":
            compare(said[block], following.text, f"{page.name}:{following.line}")


def type_all(core, block: Block, where: str) -> None:
    for typed in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = typed.partition("\n")
        done = subprocess.run(
            ["bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=core.environ,
            cwd=core.directory,
            timeout=100,
            check=False,
        )
        compare(done.stdout, shown, f"{where}: {command}")
