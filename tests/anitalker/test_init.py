"""The public names of the package are imported lazily and without side effects."""

import subprocess
import sys

import pytest

import anitalker
from anitalker import config, pipeline


def run(code, root):
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_public_names():
    assert anitalker.load is pipeline.load and anitalker.RenderOptions is config.RenderOptions
    assert set(anitalker.__all__) <= set(dir(anitalker))
    with pytest.raises(AttributeError, match="no attribute 'render'"):
        anitalker.render  # noqa: B018


def test_import_changes_nothing(root):
    """No torch, and the environment of the process stays as it is."""
    code = "import os, sys; before = dict(os.environ); import anitalker; anitalker.RenderOptions(seed=1); "
    assert run(code + "print('torch' in sys.modules, os.environ == before)", root) == "False True"


def test_the_command_line_lets_waiting_threads_sleep(root, monkeypatch):
    """Set before torch is imported, which reads it; a value of the user stays."""
    code = "import os, sys; from anitalker.cli import main; assert 'torch' not in sys.modules; main(['models']); "
    code += "print(os.environ['OMP_WAIT_POLICY'])"
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert run(code, root).splitlines()[-1] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert run(code, root).splitlines()[-1] == "ACTIVE"
