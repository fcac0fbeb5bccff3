"""The package works as `app` in a checkout and as `anitalker.app` where it is installed, from any folder."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

APP = Path(__file__).parents[2] / "app"


@pytest.mark.parametrize("path", sorted(APP.rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_names_the_package_absolutely(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        assert not [name for name in names if name == "app" or name.startswith(("app.", "anitalker.app"))]


@pytest.fixture
def installed(monkeypatch, root, tmp_path):
    """The package as `anitalker.app`, used from a folder that is not the checkout."""
    import anitalker

    monkeypatch.setattr(anitalker, "__path__", [*anitalker.__path__, str(root)])
    monkeypatch.chdir(tmp_path)
    yield importlib.import_module("anitalker.app")
    for name in [name for name in sys.modules if f"{name}.".startswith("anitalker.app.")]:
        del sys.modules[name]
    del anitalker.app


@pytest.mark.slow
def test_the_installed_page_finds_its_examples_from_any_folder(installed, found_talker):
    from anitalker.app.models import Models
    from anitalker.app.server import application
    from anitalker.server.limits import Limits

    with application(Models(found_talker, "lite", "cpu"), Limits()) as guard:
        assert {"portrait.webp", "speech.flac"} <= {path.name for path in guard.sessions.public}
    assert type(guard).__module__ == "anitalker.app.guard"


def test_help_loads_nothing_heavy(root):
    code = "import sys, app.__main__ as page; page.build_parser(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "gradio", "PIL"} & {name.split(".")[0] for name in done.stdout.split()}
