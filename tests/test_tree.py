"""Every module says what it is; the examples are credited and small."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
NOTICE = (ROOT / "NOTICE").read_text(encoding="utf-8")


def test_examples_are_credited_and_small():
    for path in (ROOT / "app/examples").iterdir():
        assert path.name in NOTICE
        assert path.stat().st_size <= (500_000 if path.suffix == ".mp4" else 150_000)


def test_examples_are_small_together():
    assert sum(path.stat().st_size for path in (ROOT / "app/examples").iterdir()) <= 1_000_000


def test_each_module_says_what_it_is():
    import ast

    for folder in ("anitalker", "encoders", "app", "scripts", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
