"""The dependency direction drawn in the README, checked without importing anything heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCAL = {"anitalker", "encoders", "app", "scripts", "tests"}
ALLOWED = {"encoders": set(), "anitalker": {"encoders"}, "app": {"anitalker"}, "scripts": {"anitalker", "encoders"}}
HEAVY = {"torch", "torchvision", "torchaudio", "librosa", "gradio", "numpy", "PIL", "scipy", "face_alignment", "tqdm"}


def imports(path):
    """First names of every absolute import of a file, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def modules_after(code):
    """Top-level modules that are loaded after running `code` in a fresh interpreter."""
    command = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        wrong = (imports(path) & LOCAL) - ALLOWED[package] - {package}
        assert not wrong, f"{path.relative_to(ROOT)} must not import {sorted(wrong)}"


def test_config_imports_only_the_rates():
    """The sample and frame rate belong to the encoders; their module imports nothing in turn."""
    tree = ast.parse((ROOT / "anitalker/config.py").read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in modules if name.split(".")[0] in LOCAL} == {"encoders.rates"}
    assert not imports(ROOT / "encoders/rates.py") | imports(ROOT / "encoders/__init__.py")


def test_only_video_calls_ffmpeg():
    for package in ("anitalker", "encoders", "app"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name != "video.py":
                assert "imageio_ffmpeg" not in imports(path), path
                assert "subprocess" not in imports(path), path


@pytest.mark.parametrize(
    "code", ["import anitalker, anitalker.config", "import anitalker.cli; anitalker.cli.build_parser()"]
)
def test_importing_costs_nothing(code):
    assert not modules_after(code) & HEAVY


def test_inference_is_light():
    assert not modules_after("import anitalker.pipeline") & {
        "gradio",
        "scripts",
        "app",
        "tensorboard",
        "face_alignment",
    }


def test_our_encoders_are_used():
    """`encoders` is a generic name: a foreign one in site-packages must not win."""
    import encoders

    assert Path(encoders.__file__).parent == ROOT / "encoders"


def test_no_packages_under_tests():
    assert not list((ROOT / "tests").rglob("__init__.py"))
