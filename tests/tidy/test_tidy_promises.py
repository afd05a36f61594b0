"""What one file promises about another: import contracts, golden frames, the settings file, the entry points."""

import configparser
import importlib
import re
import tomllib
from importlib.util import find_spec
from typing import Any

import msgspec
from msgspec import Struct
from project import PACKAGES, PROJECT, nothing

from conf.settings import Settings
from swarmsync.protocol import messages

SETTINGS_FILE = PROJECT / "conf" / "swarmsync.toml"


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(PROJECT / "setup.cfg")
    return parser


def names_in_contracts() -> set[str]:
    """Every module of ours that an import contract speaks of, with its package before it."""
    names: set[str] = set()
    for section, contract in setup_cfg().items():
        if not section.startswith("importlinter:contract:"):
            continue
        containers = contract.get("containers", "").split() or [""]
        layers = re.split(r"[|:\s]+", contract.get("layers", "").strip())
        names |= {f"{container}.{layer}".strip(".") for container in containers for layer in layers if layer}
        names |= {*containers} - {""}
        for key in ("source_modules", "forbidden_modules"):
            names |= set(contract.get(key, "").split())
    return {name for name in names if name.partition(".")[0] in PACKAGES}


def test_import_contracts_speak_of_files_that_exist():
    names = names_in_contracts()
    assert len(names) > 20, "the contracts were not read"
    nothing(sorted(name for name in names if find_spec(name) is None))


def test_entry_points_exist():
    lines = setup_cfg()["options.entry_points"]["console_scripts"].strip().splitlines()
    for line in lines:
        module, _, function = line.partition("=")[2].strip().partition(":")
        assert callable(getattr(importlib.import_module(module), function)), line


def test_every_word_has_a_golden_frame():
    words = {
        name
        for name, entry in vars(messages).items()
        if isinstance(entry, type) and issubclass(entry, Struct) and entry.__module__ == messages.__name__
    } - {"_Word"}
    frames = {path.stem for path in (PROJECT / "tests" / "golden" / "frames").glob("*.txt")}
    assert sorted(words - frames) == [], "without a frame: add a sample to tests/golden/samples.py, then make golden"
    assert sorted(frames - words) == [], "frames of words that are gone"


def defaults() -> dict[str, Any]:
    return msgspec.to_builtins(Settings())


def uncommented() -> dict[str, Any]:
    """The settings file as it would be with every key switched on."""
    lines = [re.sub(r"^#(?=[a-z_]+ = )", "", line) for line in SETTINGS_FILE.read_text().splitlines()]
    return tomllib.loads("\n".join(lines))


def test_the_settings_file_shows_every_key_with_its_default():
    assert uncommented() == defaults()


def test_the_settings_file_as_it_is_changes_nothing():
    document = tomllib.loads(SETTINGS_FILE.read_text())
    assert msgspec.to_builtins(msgspec.convert(document, Settings)) == defaults()


def test_every_key_of_the_settings_file_is_explained():
    explained = False
    silent = []
    for line in SETTINGS_FILE.read_text().splitlines():
        if re.match(r"#?[a-z_]+ = ", line):
            if not explained:
                silent.append(line)
        else:
            explained = line.startswith("# ")
    nothing(silent)


def test_running_md_names_every_setting_and_variable():
    from conf.settings import VARIABLES

    text = (PROJECT / "docs" / "running.md").read_text()
    sections = {key: value for key, value in defaults().items() if isinstance(value, dict)}
    keys = [f"{section}.{key}" for section, entries in sections.items() for key in entries]
    keys += [key for key in defaults() if key not in sections]
    nothing(name for name in [*keys, *VARIABLES] if f"`{name}`" not in text)
