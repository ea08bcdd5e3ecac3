"""C++ examples in READMEs are pieces of files that the build compiles.

A ```cpp block follows a line `<!-- from PATH -->` and stands in that file word for word.
"""

import re

import repository

_BLOCK = re.compile(r"(?:^<!-- from (\S+) -->\n)?^```cpp\n(.*?)^```", re.MULTILINE | re.DOTALL)


def check(root):
    violations = []
    for path in repository.files(root, (".md",)):
        for source, block in _BLOCK.findall((root / path).read_text()):
            if not source:
                violations.append(f"{path}: a C++ example that nothing compiles")
            elif not (root / source).exists():
                violations.append(f"{path}: example from {source}, which does not exist")
            elif block not in (root / source).read_text():
                violations.append(f"{path}: example differs from {source}")
    return violations


if __name__ == "__main__":
    repository.run(check)
