"""Markdown pages: their blocks, links, headings and commands."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
"""Every page of the documentation."""

FILES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(ROOT / "weights").glob("*.md"),
    *PAGES,
]
"""Every file whose links and commands are checked."""


def text(path):
    return path.read_text(encoding="utf-8")


def name(path):
    """Path of a page below the repository, for the names of tests."""
    return path.relative_to(ROOT).as_posix()


def blocks(page, language):
    """Contents of the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.S | re.M)


def prose(page):
    """A page without its fenced blocks and without comments."""
    return re.sub(r"<!--.*?-->", "", re.sub(r"^```.*?^```$", "", page, flags=re.S | re.M), flags=re.S)


def anchors(page):
    """What links to headings of a page end in."""
    found = []
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.M):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
        number = sum(slug == other or re.fullmatch(rf"{re.escape(slug)}_\d+", other) is not None for other in found)
        found.append(f"{slug}_{number}" if number else slug)
    return found


def links(page):
    """Targets of links and images in the prose that lead into the repository: path and anchor."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [tuple(target.partition("#")[::2]) for target in targets if "://" not in target and "mailto:" not in target]


def commands(page, *languages):
    """The commands of the package in blocks of these languages, without their comments."""
    lines = (line for language in languages for block in blocks(page, language) for line in block.splitlines())
    return [re.sub(r"\s+#.*$", "", line) for line in lines if line.startswith(("python demo", "tddfa "))]
