"""The README's tree names every file, and every file that it names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def tree():
    """Lines of the README's tree -> {folder: {names}}."""
    block = re.search(r"```text\n(anitalker/.*?)```", README, re.DOTALL)[1]
    folders, current = {}, None
    for line in block.splitlines():
        if line and not line.startswith(" "):
            current = line.split()[0].rstrip("/")
            folders[current] = set()
        elif match := re.match(r" {2}(\S+(?:, \S+)*)", line):
            folders[current] |= {name.strip(",") for name in match[1].split(", ")}
    return folders


@pytest.mark.parametrize(
    "folder",
    [
        "anitalker",
        "anitalker/commands",
        "anitalker/inspection",
        "encoders",
        "app",
        "scripts",
        "scripts/training",
        "scripts/evaluation",
        "scripts/benchmarks",
    ],
)
def test_each_file_is_in_the_tree(folder):
    there = {path.name for path in (ROOT / folder).glob("*.py")} - {"__init__.py"}
    assert tree()[folder] - {"examples/"} == there


def test_examples_are_credited_and_small():
    for path in (ROOT / "app/examples").iterdir():
        assert path.name in README
        assert path.stat().st_size <= 150_000


def test_each_module_says_what_it_is():
    import ast

    for folder in ("anitalker", "encoders", "app", "scripts", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
