"""No file knows the machine that it was written on."""

import re

import repository

# Folders of one person, one machine or one moment; /usr, /etc and /proc are every Debian's.
_PATH = re.compile(r"(?<![\w.}$/-])/(home|root|Users|mnt|media|srv|opt|tmp|work|workspace|builds)/\w[\w./-]*")


def check(root):
    violations = []
    for path in repository.files(root):
        data = (root / path).read_bytes()
        if b"\0" in data:
            continue  # not a text
        for number, line in enumerate(data.decode().splitlines(), start=1):
            violations += [f"{path}:{number}: {match[0]}" for match in _PATH.finditer(line)]
    return violations


if __name__ == "__main__":
    repository.run(check)
