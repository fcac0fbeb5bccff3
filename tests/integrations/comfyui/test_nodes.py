"""The ComfyUI nodes, loaded and called as ComfyUI does it: mappings, declared inputs, tensors in and out."""

import importlib.util
import inspect
import sys
import types

import numpy as np
import pytest
import torch

from anitalker import __version__
from anitalker.config import InputError, RenderOptions


@pytest.fixture(scope="module")
def nodes(root):
    """The folder as a module, as ComfyUI loads custom nodes: by its path, under a name with dots and slashes."""
    folder = root / "integrations/comfyui"
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    for loaded in [loaded for loaded in sys.modules if loaded.startswith(name)]:
        del sys.modules[loaded]


@pytest.fixture
def picture(example_portrait):
    """[1,H,W,3] in 0..1."""
    from PIL import Image

    return torch.from_numpy(np.array(Image.open(example_portrait).convert("RGB"))).float()[None] / 255


def sound(seconds=0.15, rate=44_100, channels=2):
    wave = 0.4 * torch.sin(torch.arange(int(seconds * rate)) * 0.05)
    return {"waveform": wave.expand(1, channels, -1), "sample_rate": rate}


def defaults(node):
    """What ComfyUI fills in where the user changes nothing."""
    inputs = node.INPUT_TYPES()
    widgets = {**inputs["required"], **inputs.get("optional", {})}
    chosen = {name: widget[1]["default"] for name, widget in widgets.items() if len(widget) > 1}
    return {**{name: widget[0][0] for name, widget in widgets.items() if isinstance(widget[0], list)}, **chosen}


def test_every_node_keeps_the_contract(nodes):
    assert set(nodes.NODE_CLASS_MAPPINGS) == set(nodes.NODE_DISPLAY_NAME_MAPPINGS)
    for node in nodes.NODE_CLASS_MAPPINGS.values():
        inputs = node.INPUT_TYPES()
        assert set(inputs) <= {"required", "optional", "hidden"}
        assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES) and node.CATEGORY and node.DESCRIPTION
        parameters = inspect.signature(getattr(node, node.FUNCTION)).parameters
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        names = {*inputs["required"], *inputs.get("optional", {})}
        assert takes_any or names <= set(parameters)
        for kind, *more in (*inputs["required"].values(), *inputs.get("optional", {}).values()):
            assert isinstance(kind, (str, list)) and all(isinstance(entry, dict) for entry in more)


def test_options_have_the_defaults_and_limits_of_the_command_line(nodes):
    options = defaults(nodes.NODE_CLASS_MAPPINGS["AniTalkerSpeak"])
    assert RenderOptions(**{**options, "size": RenderOptions.size}) == RenderOptions()
    for name, (_kind, entry) in nodes.NODE_CLASS_MAPPINGS["AniTalkerSpeak"].INPUT_TYPES()["optional"].items():
        for value in (entry[limit] for limit in ("min", "max") if limit in entry):
            RenderOptions(**{name: value})  # no InputError


def test_the_model_is_found_by_its_name(nodes):
    node = nodes.NODE_CLASS_MAPPINGS["AniTalkerLoadModel"]
    assert defaults(node) == {"model": "lite", "device": "auto"}


@pytest.mark.parametrize("channels", [1, 2])
def test_a_portrait_speaks(nodes, talker, picture, channels):
    node = nodes.NODE_CLASS_MAPPINGS["AniTalkerSpeak"]
    audio = sound(channels=channels)
    values = {**defaults(node), "model": talker, "portrait": picture, "audio": audio, "frame": "crop"}
    frames, heard, fps = getattr(node(), node.FUNCTION)(**values)
    assert frames.shape == (4, 256, 256, 3) and frames.dtype == torch.float32  # 0.15 s
    assert 0 <= frames.min() < frames.max() <= 1 and fps == 25.0 and heard is audio
    frames_as_bytes = (frames * 255).round().byte().numpy()
    assert (frames_as_bytes[0] != frames_as_bytes[-1]).any()


def test_frames_are_watermarked(nodes, talker, picture, monkeypatch):
    from anitalker.provenance import marks

    asked = []
    monkeypatch.setattr(marks, "frame_filters", lambda *arguments, **more: asked.append((arguments, more)) or ())
    nodes.NODE_CLASS_MAPPINGS["AniTalkerSpeak"]().speak(talker, picture, sound(0.1), 0, size=64, label=True)
    assert asked == [((64, 64, True), {"watermark": True})]


def test_progress_is_shown_and_comfyui_may_interrupt(nodes, talker, picture, monkeypatch):
    class Interrupted(Exception):
        pass

    steps = []

    class ProgressBar:
        def __init__(self, total):
            steps.append(total)

        def update(self, count):
            steps.append(count)

    def check():
        if len(steps) > 3:
            raise Interrupted

    management = types.SimpleNamespace(throw_exception_if_processing_interrupted=check)
    for name, module in (("comfy", types.ModuleType("comfy")), ("comfy.model_management", management)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "comfy.utils", types.SimpleNamespace(ProgressBar=ProgressBar))
    with pytest.raises(Interrupted):
        nodes.NODE_CLASS_MAPPINGS["AniTalkerSpeak"]().speak(talker, picture, sound(), 0, frame="crop")
    assert steps == [4, 1, 1, 1]


def test_what_cannot_be_used_is_said_in_a_line(nodes, talker, picture):
    speak = nodes.NODE_CLASS_MAPPINGS["AniTalkerSpeak"]().speak
    with pytest.raises(InputError, match="batch of 2 pictures"):
        speak(talker, picture.expand(2, -1, -1, -1), sound(), 0)
    with pytest.raises(InputError, match="batch of 2 recordings"):
        speak(talker, picture, {"waveform": torch.zeros(2, 1, 100), "sample_rate": 100}, 0)
    with pytest.raises(InputError, match="audio is empty"):
        speak(talker, picture, {"waveform": torch.zeros(1, 1, 0), "sample_rate": 100}, 0)


def test_transparency_is_laid_on_white(nodes, picture):
    from importlib import import_module

    module = import_module(f"{nodes.__name__}.nodes")
    clear = torch.cat([picture, torch.zeros_like(picture[..., :1])], -1)
    assert (module.to_picture(clear) == 255).all()
    assert np.array_equal(module.to_picture(picture), (picture[0] * 255).round().byte().numpy())


def test_the_registry_finds_what_it_needs(root):
    tomllib = pytest.importorskip("tomllib", reason="it came with Python 3.11")
    folder = root / "integrations/comfyui"
    facts = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    assert facts["tool"]["comfy"]["PublisherId"] and facts["project"]["version"] == __version__.split("rc")[0]
    assert facts["project"]["dependencies"] == (folder / "requirements.txt").read_text(encoding="utf-8").split()
