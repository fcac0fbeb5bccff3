"""The examples run as a reader would run them. Needs the shipped weights."""

import json
import os
import subprocess
import sys

import pytest

from anitalker.media.video import probe


def test_the_notebook_is_stored_without_outputs(root):
    cells = json.loads((root / "examples/notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
def test_the_script_writes_a_video(root, tmp_path, example_portrait, clicks):
    output = tmp_path / "out.mp4"
    command = [sys.executable, root / "examples/render.py", example_portrait, clicks, output]
    subprocess.run(command, cwd=root, check=True, env=_environment(root))
    media = probe(output)
    assert (media.video_codec, media.audio_codec, media.width, media.height) == ("h264", "aac", 256, 256)


@pytest.mark.slow
def test_the_notebook_runs(root, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is missing: pip install -e '.[dev]'")
    nbformat = pytest.importorskip("nbformat")
    for name, value in _environment(root).items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(root / "examples/notebook.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": root / "examples"}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("same seed, equal frames: True" in output.get("text", "") for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4


def _environment(root) -> dict[str, str]:
    """This checkout first on the path of the new process, whatever else is installed."""
    return {**os.environ, "PYTHONPATH": str(root)}
