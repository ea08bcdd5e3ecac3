"""C++ examples in READMEs are pieces of files that the build compiles.

A ```cpp block after a line `<!-- from PATH -->` stands in that file word for word. In the README at the
root, the first that people copy from, every C++ block is such a piece.
"""

import re

import repository

_BLOCK = re.compile(r"(?:^<!-- from (\S+) -->\n)?^```cpp\n(.*?)^```", re.MULTILINE | re.DOTALL)


def check(root):
    violations = []
    for path in repository.files(root, (".md",)):
        for source, block in _BLOCK.findall((root / path).read_text()):
            if not source:
                if path == "README.md":
                    violations.append(f"{path}: a C++ example that nothing compiles")
            elif not (root / source).exists():
                violations.append(f"{path}: example from {source}, which does not exist")
            elif block not in (root / source).read_text():
                violations.append(f"{path}: example differs from {source}")
    return violations


if __name__ == "__main__":
    repository.run(check)
