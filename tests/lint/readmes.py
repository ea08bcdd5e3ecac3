"""Every folder is explained, and no README points into the void.

A folder has a README.md, or the nearest README.md above it names the folder (as `folder/`).
"""

import pathlib
import re

import repository

_LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


def unexplained_folders(root):
    """Yields one violation per folder."""
    paths = [pathlib.PurePosixPath(path) for path in repository.files(root)]
    folders = {folder for path in paths for folder in path.parents} - {pathlib.PurePosixPath(".")}
    for folder in sorted(folders):
        if any(part.startswith(".") for part in folder.parts):
            continue
        readme = next(f for f in (folder, *folder.parents) if (root / f / "README.md").exists() or f.name == "")
        if readme == folder:
            continue
        text = (root / readme / "README.md").read_text() if (root / readme / "README.md").exists() else ""
        if f"{folder.relative_to(readme)}/" not in text:
            yield f"{folder}/: no README.md, and {readme}/README.md does not name it"


def broken_links(root):
    """Yields one violation per relative link that leads nowhere."""
    for path in repository.files(root, (".md",)):
        for target in _LINK.findall((root / path).read_text()):
            if "://" not in target and not (root / path).parent.joinpath(target).exists():
                yield f"{path}: link to {target}, which does not exist"


def check(root):
    return [*unexplained_folders(root), *broken_links(root)]


if __name__ == "__main__":
    repository.run(check)
