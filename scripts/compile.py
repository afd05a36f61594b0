"""Compile the hot modules (`swarmsync/compiled.py`) for this Python. Without a C compiler nothing is lost but speed."""

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
from swarmsync import compiled
for name in compiled.MODULES[sys.argv[1]]:
    importlib.import_module(name)
root = f"{compiled.ROOT}/"
files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
print(*sorted({file[len(root):] for file in files if file.startswith(root) and not file.startswith(sys.prefix)}))
"""


def main() -> int:
    """Make what is not current. Returns an exit code; that something stays interpreted is no failure."""
    base = compiled.directory()
    stale = [] if base is None else [name for name in compiled.MODULES if not compiled.is_current(base / name)]
    if base is None or not stale:
        return 0
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        print(f"There is no C compiler ({compiler}): placement and workers will be interpreted, which is slower.")
        return 0
    print("Compiling what is hot, this once ...", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        makers = {name: start(name, Path(scratch)) for name in stale}  # side by side
        for name, maker in makers.items():
            said, _ = maker.communicate()
            if maker.returncode:
                print(f"{name}: it stays interpreted, since it could not be compiled:\n{said[-2_000:]}")
                continue
            if "warning:" in said:  # what mypyc would do otherwise than Python
                print(*[line for line in said.splitlines() if "warning:" in line], sep="\n")
            made = Path(scratch, name, "lib", name)
            shutil.move(next(made.parent.glob(compiled.library(name) + ".*")), made)
            compiled.sign(made, sources_of(name))
            shutil.rmtree(base / name, ignore_errors=True)
            base.mkdir(parents=True, exist_ok=True)
            shutil.move(made, base / name)
    return 0


def start(program: str, scratch: Path) -> "subprocess.Popen[str]":
    work = scratch / program
    arguments = [sys.executable, "-c", MAKE, program, str(work / "lib"), str(work / "build")]
    return subprocess.Popen(
        arguments, cwd=compiled.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=without_any()
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
