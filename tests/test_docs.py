"""The documentation names only files, modules and commands that exist, and the site shows every page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HISTORY = {"docs/training-log.md", "CHANGELOG.md"}  # they name what was there at the time
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "examples/*.md", "checkpoints/*.md")
    for path in ROOT.glob(pattern)
)
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`]*`")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    text = CODE.sub("", FENCE.sub("", (ROOT / page).read_text(encoding="utf-8")))
    links = {target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)}
    links = {target for target in links if target and "://" not in target and not target.startswith("mailto:")}
    missing = sorted(target for target in links if not (ROOT / page).parent.joinpath(target).exists())
    assert not missing


@pytest.mark.parametrize("page", [page for page in PAGES if page not in HISTORY])
def test_named_files_and_commands_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    files = set(re.findall(r"(?<![\w/.])((?:anitalker|encoders|app|scripts|tests|checkpoints)/[\w./-]*\.\w+)", text))
    modules = {name.replace(".", "/") for name in re.findall(r"python3? -m (scripts\.\w+)", text)}
    missing = [file for file in files if not (ROOT / file).exists()]
    missing += [f"{name}.py" for name in modules - {"scripts/NAME"} if not (ROOT / f"{name}.py").exists()]
    assert not sorted(missing)


def test_the_site_shows_every_page():
    shown = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert shown == {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}


def test_reference_pages_name_modules_that_exist():
    for page in (ROOT / "docs/reference").glob("*.md"):
        for name in re.findall(r"^::: ([\w.]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            parts = name.split(".")
            while parts[-1][0].isupper():  # a class
                parts.pop()
            candidates = [ROOT.joinpath(*parts[:end]).with_suffix(".py") for end in (len(parts), len(parts) - 1)]
            assert any(path.exists() for path in candidates), f"{page.name}: {name}"
