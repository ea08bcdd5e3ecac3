"""The checks that a tool does: formatting, shell scripts, the API's style and its compatibility.

    python3 tests/lint/tools.py formatting|shell|api_style|api_compatibility
"""

import shutil
import subprocess
import sys

import repository


def tool(name):
    """Path of a program: Debian's, or one of tests/requirements.txt."""
    path = shutil.which(name) or shutil.which(name, path=repository.ROOT / ".venv" / "bin")
    if path is None:
        sys.exit(f"{name} is missing; sh tests/run.sh installs it")
    return path


def complaints(command, root):
    """What `command`, run in `root`, has to say; nothing if it succeeds."""
    done = subprocess.run(command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return [] if done.returncode == 0 else [done.stdout or f"{command[0]}: exit code {done.returncode}"]


def formatting(root):
    return complaints([tool("clang-format"), "--dry-run", "-Werror", *repository.cpp_files(root)], root)


def shell(root):
    return complaints([tool("shellcheck"), *repository.shell_scripts(root)], root)


def api_style(root):
    style = complaints([tool("buf"), "lint", "proto"], root)
    return style + complaints([tool("buf"), "format", "proto", "--diff", "--exit-code"], root)


def api_compatibility(root):
    """Refuses what would break clients of the API in proto/baseline.txtpb (proto/README.md)."""
    return complaints([tool("buf"), "breaking", "proto", "--against", "proto/baseline.txtpb"], root)


CHECKS = {check.__name__: check for check in (formatting, shell, api_style, api_compatibility)}

if __name__ == "__main__":
    repository.run(CHECKS[sys.argv[1]])
