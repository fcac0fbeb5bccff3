"""anitalker app: where the page's package is, its options, and what is said where it is not installed."""

import importlib
import subprocess
import sys
from argparse import Namespace

import pytest

from anitalker.cli import build_parser, main
from anitalker.commands import app


@pytest.fixture
def without_page(monkeypatch):
    monkeypatch.setattr(app, "find_page", lambda: None)


def test_the_checkout_has_the_page():
    assert app.find_page() in ("anitalker.app", "app")


def test_options_are_those_of_the_page():
    from app.__main__ import build_parser as build_page_parser

    arguments = ["--port", "8000", "--auth", "ann:secret", "--max-seconds", "30"]
    given, expected = build_parser().parse_args(["app", *arguments]), build_page_parser().parse_args(arguments)
    assert vars(given) == {**vars(expected), "command": "app", "json": False}


@pytest.mark.parametrize("arguments", [[], ["--port", "8000"], ["x", "--host", "::1"]])
def test_a_missing_page_is_reported_in_one_line(without_page, capsys, arguments):
    assert main(["app", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: the web page is not installed; reinstall") and error.count("\n") == 1


def test_other_commands_do_not_need_the_page(without_page):
    assert main(["models", "list", "--json"]) == 0


def test_wrong_usage_is_one_line(capsys):
    assert main(["app", "--port", "0"]) == 2
    assert capsys.readouterr().err == "error: --port is 0; allowed is 1 to 65535\n"


def test_an_interruption_is_quiet(monkeypatch, capsys):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module(f"{app.find_page()}.server"), "run", interrupt)
    assert app.run(Namespace()) == {"exit_status": 130}
    assert main(["app"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_foreign_app_is_not_run(tmp_path, root):
    """`app.py` is a common name: a command in somebody's project must not execute it."""
    (tmp_path / "app.py").write_text("raise SystemExit('ran')")
    code = f"import sys; sys.path.append({str(root)!r}); from anitalker.commands.app import find_page; find_page()"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
