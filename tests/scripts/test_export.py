"""Export: the parts of several runs become one file that loads; large tensors in float16, measured ones untouched."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from anitalker.config import InputError
from anitalker.models import loading
from anitalker.streaming.features import StreamingSpeechFeatures
from anitalker.weights import registry
from scripts import export
from scripts.training.generator_start import begin_at, parts_of, phonetic_of
from scripts.training.presets import resolve


@pytest.fixture
def runs(untrained_model, tmp_path):
    """Three runs as training leaves them: each with its own parts, with something that inference does not need."""
    config, tensors = loading.read(untrained_model)
    for run, parts in {
        "codes": ["motion_space"],
        "decoder": ["motion_space", "decoder"],
        "generator": ["generator"],
    }.items():
        own = {key: tensor for key, tensor in tensors.items() if key.split(".")[0] in parts}
        if run == "codes":
            own = {key: tensor + 1 for key, tensor in own.items()} | {"loss.weight": torch.ones(3)}
        kept = {name: config[name] for name in [*parts, *(["speech"] if run == "generator" else [])]}
        (tmp_path / run).mkdir()
        save_file(own, tmp_path / run / "weights.safetensors", {"config": json.dumps({**kept, "seed": 3})})
    return tmp_path, tensors


def test_runs_become_one_model(runs, capsys):
    folder, tensors = runs
    output = folder / "model.safetensors"
    export.main([*(str(folder / name) for name in ("codes", "decoder", "generator")), "-o", str(output)])
    assert registry.sha256(output) in capsys.readouterr().out
    config, exported = loading.read(output)
    assert set(config) == {"motion_space", "decoder", "generator", "speech"}
    assert exported.keys() == tensors.keys()
    for key, tensor in tensors.items():  # the later run's motion space counts
        torch.testing.assert_close(exported[key], tensor, atol=2e-3, rtol=2e-3)
    with safe_open(output, "pt") as file:
        assert file.get_tensor("motion_space.directions").dtype == torch.float32
        assert file.get_tensor("motion_space.encoder.last.weight").dtype == torch.float32  # small here
    assert loading.load_model(output).name == "model"


def test_a_generator_and_the_encoder_that_it_hears_stay_together(untrained_model, phonetic_run, tmp_path):
    encoder = phonetic_of(str(phonetic_run.folder))
    network = begin_at(str(untrained_model), 323 + encoder.size, lips_width=16)
    modules, configs = parts_of(network, encoder)
    tensors = {f"{name}.{key}": t for name, module in modules.items() for key, t in module.state_dict().items()}
    (tmp_path / "run").mkdir()
    save_file(tensors, tmp_path / "run/weights.safetensors", {"config": json.dumps(configs)})
    output = tmp_path / "model.safetensors"
    assert export.main([str(untrained_model), str(tmp_path / "run"), "-o", str(output)]) == 0
    networks = loading.load_model(output)
    assert networks.speech.size == 323 + encoder.size == networks.generator.config.speech_size
    sound = 0.1 * torch.randn(6400)
    stream, pieces = StreamingSpeechFeatures(networks.speech, level=-26.0), sound.split(900)
    arrived = [stream.push(piece, last=piece is pieces[-1]) for piece in pieces]
    assert torch.allclose(torch.cat(arrived, 1)[0], networks.speech(sound), atol=2e-4)
    config, tensors = loading.read(output)
    deaf = {key: tensor for key, tensor in tensors.items() if not key.startswith("phonetic.")}
    export.write(tmp_path / "deaf.safetensors", {k: v for k, v in config.items() if k != "phonetic"}, deaf)
    with pytest.raises(InputError, match="323 speech features"):
        loading.load_model(tmp_path / "deaf.safetensors")


def test_large_tensors_become_half():
    assert export.slim("decoder.entry.weight", torch.zeros(100, 100)).dtype == torch.float16
    assert export.slim("motion_space.directions", torch.zeros(1404, 14)).dtype == torch.float32


def test_a_missing_part_is_named(runs, capsys):
    folder, _ = runs
    assert export.main([str(folder / "decoder"), "-o", str(folder / "x.safetensors")]) == 2
    assert "generator, speech" in capsys.readouterr().err
    assert not (folder / "x.safetensors").exists()


def test_a_preset_becomes_a_file_that_trains(tmp_path):
    file = tmp_path / "mine.json"
    export.main(["--preset", "full-256", "-o", str(file)])
    told = json.loads(file.read_text())
    assert told["stages"]["pixels"]["recipe"]["size"] == told["stages"]["pixels"]["stage1"]["size"] == 256
    assert resolve(str(file), None, {}) == resolve("full-256", None, {})
    told["stages"]["pixels"]["recipe"] |= {"width": 0.5, "steps": 7}
    file.write_text(json.dumps(told))
    mine = resolve(str(file), "pixels", {"batch": 3})
    assert (mine.steps, mine.batch, mine.config().channels[0]) == (7, 3, 256)
    export.main(["--preset", "lite-256", "-o", str(file)])
    assert resolve(str(file), "decoder", {}) == resolve("lite-256", "decoder", {})
    assert set(json.loads(file.read_text())["stages"]["decoder"]) == {"recipe", "motion_space", "decoder"}


@pytest.mark.parametrize(
    "text", [None, "", "[]", "{}", '{"stages": {"other": {}}}', '{"stages": {"codes": {"recipe": {"x": 1}}}}']
)
def test_a_preset_file_that_is_none(tmp_path, text):
    file = tmp_path / "mine.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match="cannot be read"):
        resolve(str(file), None, {})


def test_an_unknown_preset_is_told(tmp_path, capsys):
    assert export.main(["--preset", "full", "-o", str(tmp_path / "x.json")]) == 2
    assert "allowed are lite-256" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()


@pytest.fixture(scope="module")
def exported(untrained_model, tmp_path_factory):
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("onnx")
    export.main([str(untrained_model), "--onnx", str(folder)])
    return loading.load_model(untrained_model), folder


def longer(part, name, tensor):
    """The same input with one more of whatever may vary; L = p + n stays true."""
    more = {"B": 1, "L": 7, "p": 3, "n": 4}
    sizes = [
        size + more[part.free.get(name, {}).get(axis, "")] if axis in part.free.get(name, {}) else size
        for axis, size in enumerate(tensor.shape)
    ]
    return torch.rand(sizes)


@pytest.mark.slow
@pytest.mark.parametrize("name", export.PARTS)
def test_onnx_runtime_agrees_with_torch(exported, name):
    onnxruntime = pytest.importorskip("onnxruntime")
    networks, folder = exported
    part = export.PARTS[name](networks)
    session = onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == list(part.outputs)
    torch.manual_seed(1)
    for inputs in (part.inputs, {key: longer(part, key, value) for key, value in part.inputs.items()}):
        with torch.no_grad():
            wanted = part(*inputs.values())
        made = session.run(None, {key: value.numpy() for key, value in inputs.items()})
        for mine, theirs in zip(wanted if isinstance(wanted, tuple) else (wanted,), made, strict=True):
            assert mine.abs().max() > 1e-3
            torch.testing.assert_close(torch.from_numpy(theirs), mine, atol=1e-4, rtol=1e-4)
