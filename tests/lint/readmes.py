"""Every folder is explained, and no README points into the void.

A folder has a README.md, or the nearest README.md above it names the folder (as `folder/`).
"""

import pathlib
import re

import repository

_LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def unexplained_folders(root):
    """Yields one violation per folder."""
    paths = [pathlib.PurePosixPath(path) for path in repository.files(root)]
    folders = {folder for path in paths for folder in path.parents} - {pathlib.PurePosixPath(".")}
    for folder in sorted(folders):
        if any(part.startswith(".") for part in folder.parts):
            continue
        if (root / folder / "README.md").exists():
            continue
        above = next((f for f in folder.parents if (root / f / "README.md").exists()), None)
        if above is None:
            yield f"{folder}/: no README.md here or above"
        elif f"{folder.relative_to(above)}/" not in (root / above / "README.md").read_text():
            yield f"{folder}/: no README.md, and {above / 'README.md'} does not name it"


def broken_links(root):
    """Yields one violation per relative link that leads nowhere."""
    for path in repository.files(root, (".md",)):
        for target in _LINK.findall(_CODE.sub("", (root / path).read_text())):
            if "://" not in target and not (root / path).parent.joinpath(target).exists():
                yield f"{path}: link to {target}, which does not exist"


def check(root):
    return [*unexplained_folders(root), *broken_links(root)]


if __name__ == "__main__":
    repository.run(check)
