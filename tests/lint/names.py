"""File and folder names say what is inside; these words never do."""

import re

import repository

FORBIDDEN = {"util", "utils", "utility", "utilities", "helper", "helpers", "manager", "managers", "v2"}


def check(root):
    return [
        f"{path}: the name says nothing ({', '.join(sorted(words))})"
        for path in repository.files(root)
        if (words := FORBIDDEN & set(re.split(r"[/_.-]", path.lower())))
    ]


if __name__ == "__main__":
    repository.run(check)
