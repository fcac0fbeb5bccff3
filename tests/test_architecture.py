"""Who may import whom, as docs/architecture.md draws it; checked without importing anything heavy."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCAL = {"anitalker", "encoders", "app", "scripts", "tests"}
HEAVY = {"torch", "torchvision", "torchaudio", "librosa", "gradio", "numpy", "PIL", "scipy", "face_alignment", "tqdm"}

# What each package, or module beside the packages, may import of ours, from the ground up. All may import config and
# network_config.
ALLOWED = {
    "encoders": set(),
    "config": {"encoders"},
    "network_config": set(),
    "files": set(),
    "spreadsheet": set(),
    "weights": {"files"},
    "runtime": set(),
    "original": {"encoders", "runtime", "weights"},
    "faces": {"runtime", "weights"},
    "media": {"encoders", "faces", "files", "spreadsheet"},
    "provenance": {"files", "media", "weights"},
    "decoder": {"faces", "runtime"},
    "matte": {"decoder", "runtime"},
    "motion": {"encoders", "faces", "files", "runtime", "spreadsheet"},
    "models": {"decoder", "encoders", "faces", "matte", "motion", "original", "runtime", "weights"},
    "photos": {"decoder", "dubbing", "faces", "media", "models", "person", "runtime"},
    "portrait": {"faces", "media", "models", "person", "photos"},
    "driving": {"faces", "media", "models", "motion"},
    "rendering": {"faces", "media", "models", "provenance", "runtime"},
    "scene": {"matte", "media", "models", "portrait", "rendering"},
    "estimate": {"faces", "models", "portrait", "rendering", "runtime"},
    "dubbing": {"decoder", "driving", "faces", "files", "media", "models", "rendering", "runtime"},
    "person": {"decoder", "dubbing", "faces", "files", "media", "models", "motion", "runtime", "weights"},
    "pipeline": {
        "driving",
        "dubbing",
        "estimate",
        "faces",
        "files",
        "media",
        "models",
        "motion",
        "person",
        "photos",
        "portrait",
        "rendering",
        "runtime",
        "scene",
    },
    "benchmark": {"files", "media", "models", "pipeline", "portrait", "runtime"},
    "streaming": {"encoders", "media", "motion", "pipeline", "runtime"},
    "batch": {"files", "media", "person", "pipeline", "rendering", "runtime", "spreadsheet", "weights"},
    "inspection": {"faces", "files", "media", "models", "motion", "person", "pipeline", "runtime"},
    "server": {"__init__", "files", "media", "motion", "pipeline", "provenance", "runtime", "streaming"},
    "integrations": {"__init__", "pipeline", "provenance", "streaming"},
    "commands": {
        "__init__",
        "batch",
        "benchmark",
        "faces",
        "files",
        "inspection",
        "media",
        "models",
        "motion",
        "person",
        "pipeline",
        "portrait",
        "provenance",
    }
    | {"rendering", "runtime", "server", "streaming", "weights"},
    "cli": {"commands"},
    "__main__": {"cli"},
    "__init__": {"pipeline"},
    "app": {"batch", "dubbing", "estimate", "faces", "files", "inspection", "media", "models", "motion", "pipeline"}
    | {"person", "provenance", "rendering", "runtime", "server", "streaming", "weights"},
    "scripts": set(),  # everything but the commands and the page
}
LONGEST = 350  # lines of a file
LONGEST_PIPELINE = 280


def imports(path):
    """Full names of the modules that a file imports absolutely, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            if node.module == "anitalker":
                names |= {f"anitalker.{alias.name}" for alias in node.names if alias.name != "__version__"}
            else:
                names.add(node.module)
    return names


def package_of(module):
    """anitalker.motion.idle -> motion; encoders.hal -> encoders."""
    first, *rest = module.split(".")
    return (rest[0] if rest else "__init__") if first == "anitalker" else first


def violations(path, root):
    """What a file imports of ours and may not, as (its package, the module)."""
    module = ".".join(path.relative_to(root).with_suffix("").parts)
    package = package_of(module)
    wrong = set()
    for name in imports(path):
        if name.split(".")[0] not in LOCAL or package_of(name) == package:
            continue
        allowed = ALLOWED.get(package, set()) | ({"config", "network_config"} if package != "encoders" else set())
        if package == "scripts":
            allowed = set(ALLOWED) - {"commands", "cli", "app", "__main__"}
        if package_of(name) not in allowed:
            wrong.add((package, name))
    return wrong


def modules_after(code):
    """Top-level modules that are loaded after running `code` in a fresh interpreter."""
    command = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("folder", ["encoders", "anitalker", "app", "scripts"])
def test_imports_point_one_way(folder):
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        assert not violations(path, ROOT), path


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("anitalker/media/planted.py", "from anitalker.pipeline import load"),
        ("anitalker/runtime/planted.py", "import anitalker.motion.idle"),
        ("anitalker/motion/planted.py", "from anitalker import models"),
        ("anitalker/inspection/planted.py", "from anitalker.streaming.talker import StreamingTalker"),
        ("encoders/planted.py", "from anitalker.config import FPS"),
        ("app/planted.py", "from anitalker.commands import render"),
        ("scripts/planted.py", "from anitalker.commands.options import Parser"),
    ],
)
def test_a_planted_violation_is_found(tmp_path, file, line):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(f"def late():\n    {line}\n", encoding="utf-8")
    assert len(violations(path, tmp_path)) == 1


def test_every_package_has_its_rule():
    packages = {path.parent.name for path in (ROOT / "anitalker").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "anitalker").glob("*.py")}
    assert packages | modules <= set(ALLOWED)


def test_encoders_import_each_other_relatively():
    """In a wheel they are `anitalker.encoders`."""
    for path in (ROOT / "encoders").rglob("*.py"):
        assert not {name for name in imports(path) if name.split(".")[0] in LOCAL}, path


@pytest.mark.slow
def test_there_is_no_circle():
    """Of modules, imports for types alone included."""
    files = [path for folder in ("anitalker", "app", "encoders") for path in (ROOT / folder).rglob("*.py")]
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}
    graph = {}
    for module, path in modules.items():
        if path.name == "__init__.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = imports(path)
        for node in ast.walk(tree):  # from anitalker.motion import idle
            if isinstance(node, ast.ImportFrom) and node.module:
                base = node.module if node.level == 0 else ".".join([*module.split(".")[: -node.level], node.module])
                names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
        graph[module] = {name for name in names if name in modules and name != module}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) >= len(graph) > 100


def test_files_are_short():
    for folder in ("anitalker", "encoders", "app", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST, path
    assert len((ROOT / "anitalker/pipeline.py").read_text(encoding="utf-8").splitlines()) <= LONGEST_PIPELINE


def test_no_two_files_have_one_name():
    """In different packages of the library; commands are called as they are typed."""
    files = [path for path in (ROOT / "anitalker").rglob("*.py") if path.parent.name not in ("commands", "anitalker")]
    names = [path.stem for path in files if not path.stem.startswith("__")]
    assert len(names) == len(set(names)) and "utils" not in names


def test_config_imports_only_the_rates():
    """Sample rate and frame rate are defined once, in `encoders.rates`, which imports nothing."""
    assert {name for name in imports(ROOT / "anitalker/config.py") if name.split(".")[0] in LOCAL} == {"encoders.rates"}
    assert not imports(ROOT / "encoders/rates.py") - {"__future__"}


def test_only_video_calls_ffmpeg():
    for package in ("anitalker", "encoders", "app"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name not in ("video.py", "sign_apart.py"):  # the second starts Python
                assert not imports(path) & {"imageio_ffmpeg", "subprocess"}, path


@pytest.mark.parametrize(
    "code",
    ["import anitalker, anitalker.config, anitalker.streaming", "import anitalker.cli; anitalker.cli.build_parser()"],
)
def test_importing_costs_nothing(code):
    assert not modules_after(code) & HEAVY


@pytest.mark.slow
def test_inference_is_light():
    heavy = {"gradio", "scripts", "app", "tensorboard", "face_alignment", "librosa", "torchaudio", "torchvision"}
    assert not modules_after("import anitalker.pipeline") & heavy


def test_our_encoders_are_used():
    """`encoders` is a generic name: a foreign one in site-packages must not win."""
    import encoders

    assert Path(encoders.__file__).parent == ROOT / "encoders"


def test_no_packages_under_tests():
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_the_document_names_every_package():
    """docs/architecture.md has a line for each package, and names no module that is not there."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    for path in (ROOT / "anitalker").glob("*/__init__.py"):
        assert f"`anitalker/{path.parent.name}/`" in text, path.parent.name
    for name in re.findall(r"`((?:anitalker|encoders|app|scripts|tests)/[\w./]+)`", text):
        assert (ROOT / name).exists(), name
