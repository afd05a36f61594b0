"""Compile the hot modules (`swarmsync/compiled.py`) for this Python, where it can; else they stay interpreted."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from swarmsync import compiled

#: Makes one library; arguments: the program, where to put it, where to work.
MAKE = """
import sys
from mypyc.build import mypycify
from setuptools import setup
from swarmsync import compiled
program, target, scratch = sys.argv[1:]
paths = [f"{name.replace('.', '/')}.py" for name in compiled.MODULES[program]]
group = compiled.library(program).removesuffix("__mypyc")
extensions = mypycify(paths, opt_level="2", debug_level="0", group_name=group, target_dir=scratch)
setup(name=group, packages=[], ext_modules=extensions, script_args=["build_ext", "-b", target, "-t", scratch])
"""
#: Lists what the modules of a program import of ours, themselves included: the library has constants of theirs, too.
LIST = """
import importlib, sys
from pathlib import Path
from swarmsync import compiled
for name in compiled.MODULES[sys.argv[1]]:
    importlib.import_module(name)
files = [Path(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
ours = {path.relative_to(compiled.ROOT) for path in files if path.is_relative_to(compiled.ROOT)}
print(*sorted(str(path) for path in ours if "site-packages" not in path.parts), sep="\\n")
"""
SLOWER = "without it a worker takes a quarter longer for a job, and a placement takes twice as long"


def main() -> int:
    """Make what is not current. Returns an exit code; that something stays interpreted is no failure."""
    base = compiled.directory()
    if sys.version_info[:2] not in compiled.TESTED:
        tested = " or ".join([".".join(map(str, version)) for version in compiled.TESTED])
        print(f"The hot modules are compiled for Python {tested} only; {SLOWER}.")
    stale = [] if base is None else [name for name in compiled.MODULES if not compiled.is_current(base / name)]
    if base is None or not stale:
        return 0
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        print(f"There is no C compiler ({compiler}): {SLOWER}.")
        return 0
    print("Compiling the hot modules: a minute, again only after they were changed ...", flush=True)
    try:
        base.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=base) as scratch:
            makers = {name: start(name, Path(scratch)) for name in stale}  # side by side
            for name, maker in makers.items():
                said, _ = maker.communicate()
                if maker.returncode:
                    print(f"{name}: it could not be compiled; {SLOWER}:\n{said[-2_000:]}")
                    continue
                if "warning:" in said:  # what mypyc does otherwise than Python
                    print(*[line for line in said.splitlines() if "warning:" in line], sep="\n")
                install(name, Path(scratch), base / name)
    except (OSError, subprocess.SubprocessError) as problem:
        print(f"The hot modules could not be compiled ({problem}); {SLOWER}.")
    return 0


def install(program: str, scratch: Path, target: Path) -> None:
    """Put what was made in place of what is there, whole. Who starts in between finds nothing, and interprets."""
    made = scratch / program / "lib" / program
    library = next(made.parent.glob(f"{compiled.library(program)}.*"))
    library.rename(made / library.name)
    compiled.sign(made, sources_of(program))
    if target.exists():
        target.rename(scratch / program / "old")
    made.rename(target)


def start(program: str, scratch: Path) -> "subprocess.Popen[str]":
    work = scratch / program
    arguments = [sys.executable, "-c", MAKE, program, str(work / "lib"), str(work / "build")]
    # One cache each: two that begin with an empty one lock each other out of it.
    env = without_any() | {"MYPY_CACHE_DIR": str(compiled.ROOT / ".mypy_cache" / program)}
    return subprocess.Popen(
        arguments, cwd=compiled.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
    )


def sources_of(program: str) -> list[str]:
    """Return the files whose text the library depends on."""
    arguments = [sys.executable, "-c", LIST, program]
    listed = subprocess.run(
        arguments, cwd=compiled.ROOT, stdout=subprocess.PIPE, text=True, check=True, env=without_any()
    )
    return listed.stdout.split()


def without_any() -> dict[str, str]:
    return {**os.environ, "SWARMSYNC_COMPILED": "no"}


if __name__ == "__main__":
    sys.exit(main())
