"""Files below 500 lines, functions below 70."""

import json
import subprocess

import repository

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 70

SOURCES = (".h", ".cc", ".cu", ".cuh", ".py", ".sh", ".proto", ".cmake", "CMakeLists.txt", ".md")

# "path" or "path:function" -> why it is longer. An entry that is no longer needed is a violation.
EXCEPTIONS = {}


def long_files(root):
    """Yields (path, lines)."""
    for path in repository.files(root, SOURCES):
        lines = len((root / path).read_bytes().splitlines())
        if lines >= MAX_FILE_LINES:
            yield path, lines


def shell_end(path, begin):
    """Line of the brace that ends the shell function at line `begin`: ctags does not tell it."""
    lines = path.read_text().splitlines()
    return next((n for n, line in enumerate(lines[begin:], begin + 1) if line == "}"), len(lines))


def long_functions(root):
    """Yields (path:function, lines)."""
    sources = repository.files(root, (".h", ".cc", ".cu", ".cuh", ".py", ".sh"))
    command = ["ctags", "--output-format=json", "--fields=+ne", "--sort=no", "-L", "-", "-f", "-"]
    command += ["--langmap=C++:.h.cc.cu.cuh", "--languages=C++,Python,Sh"]
    command += ["--kinds-C++=f", "--kinds-Python=fm", "--kinds-Sh=f"]
    output = subprocess.run(
        command, cwd=root, input="\n".join(sources), check=True, text=True, stdout=subprocess.PIPE
    ).stdout
    for line in output.splitlines():
        tag = json.loads(line)
        lines = (tag.get("end") or shell_end(root / tag["path"], tag["line"])) - tag["line"] + 1
        if lines >= MAX_FUNCTION_LINES:
            yield f"{tag['path']}:{tag['name']}", lines


def check(root, exceptions=None):
    exceptions = EXCEPTIONS if exceptions is None else exceptions
    found = {name: (lines, MAX_FILE_LINES) for name, lines in long_files(root)}
    found |= {name: (lines, MAX_FUNCTION_LINES) for name, lines in long_functions(root)}
    violations = [
        f"{name}: {lines} lines; fewer than {limit} are wanted"
        for name, (lines, limit) in sorted(found.items())
        if name not in exceptions
    ]
    return violations + [
        f"{name}: its exception in tests/lint/sizes.py is not needed"
        for name in sorted(exceptions)
        if name not in found
    ]


if __name__ == "__main__":
    repository.run(check)
