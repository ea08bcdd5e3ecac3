"""The files that the checks read, and how a check reports."""

import functools
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What .gitignore names, and git itself.
_SKIPPED = {".git", ".venv", "build", "__pycache__"}


@functools.lru_cache(maxsize=None)
def files(root, suffixes=None):
    """All files below `root` as sorted paths relative to it, as POSIX strings; only those that end in one
    of the tuple `suffixes` if it is given."""
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in _SKIPPED]
        found += [pathlib.Path(folder, name).relative_to(root).as_posix() for name in names]
    return sorted(path for path in found if suffixes is None or path.endswith(suffixes))


def cpp_files(root):
    """All C++ and CUDA sources."""
    return files(root, (".h", ".cc", ".cu", ".cuh"))


def shell_scripts(root):
    """All shell scripts: by suffix, or by their first line where there is none."""
    without_suffix = [path for path in files(root) if "." not in path.rsplit("/", 1)[-1]]
    by_first_line = [
        path for path in without_suffix if re.match(rb"#!.*\b(ba)?sh\b", (root / path).read_bytes())
    ]
    return files(root, (".sh",)) + by_first_line


def run(check):
    """Runs `check`, a function from a root folder to a list of violations in words, over the repository; ends
    the process with exit code 1 if there are any."""
    violations = check(ROOT)
    for violation in violations:
        print(violation)
    if violations:
        sys.exit(f"{len(violations)} violations; tests/lint/README.md has the rules")
