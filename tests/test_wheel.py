"""The wheel as a user gets it: outside the checkout, with weights and page, and no other name than anitalker."""

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
import zipfile

import pytest

pytestmark = pytest.mark.slow
SHIPPED = ("face", "landmarks68", "lite", "motion_prior")


def run(*command, cwd, **more):
    """Run to the end; its output, and the reason where it fails."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ANITALKER"))}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, check=False, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    """The wheel, built from the source distribution, so that both are complete."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", str(folder), str(root), cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def clean(wheel, tmp_path_factory):
    """An environment outside the checkout with the wheel; its dependencies are those of this environment."""
    place = tmp_path_factory.mktemp("clean")
    venv.create(place, with_pip=True)
    run(str(place / "bin/pip"), "install", "-q", "--no-deps", str(wheel), cwd=place)
    (packages,) = place.glob("lib/python*/site-packages")
    # A path that comes after its own packages; the editable install of this checkout does not follow.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return place


def test_its_contents(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"anitalker"}
    for name in SHIPPED:
        assert f"anitalker/checkpoints/{name}.safetensors" in names
    for name in (
        "app/style.css",
        "app/examples/speech.flac",
        "encoders/hal.py",
        "py.typed",
        "server/live_page/live.js",
    ):
        assert f"anitalker/{name}" in names


def test_it_renders_with_its_own_weights(clean, tmp_path):
    code = "import anitalker; from anitalker.weights.registry import SHIPPED_FOLDER; anitalker.load(); "
    code += "from anitalker.files import EXAMPLES; print(SHIPPED_FOLDER, EXAMPLES, anitalker.__file__)"
    where = run(str(clean / "bin/python"), "-c", code, cwd=tmp_path).split()
    assert all(path.startswith(str(clean)) for path in where)
    (examples,) = clean.glob("lib/python*/site-packages/anitalker/app/examples")
    files = [str(examples / "man.webp"), str(examples / "speech.flac")]
    run(str(clean / "bin/anitalker"), "render", *files, "-o", "out.mp4", "--frame", "crop", cwd=tmp_path)
    assert "made by AniTalker; intact" in run(str(clean / "bin/anitalker"), "verify", "out.mp4", cwd=tmp_path)


def test_it_takes_no_other_name(clean, tmp_path):
    code = "import importlib.util as u; print([n for n in ('app', 'encoders', 'scripts') if u.find_spec(n)])"
    assert run(str(clean / "bin/python"), "-c", code, cwd=tmp_path).strip() == "[]"


def test_it_serves_the_page(clean, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(clean / "bin/anitalker"), "app", "--port", str(port), "--device", "cpu"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as server:
        try:
            page, until = "", time.monotonic() + 120
            while not page and time.monotonic() < until and server.poll() is None:
                try:
                    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read().decode()
                except OSError:
                    time.sleep(0.5)
        finally:
            server.send_signal(signal.SIGTERM)
            errors = server.communicate(timeout=60)[1].decode()
    assert "AniTalker" in page, errors
