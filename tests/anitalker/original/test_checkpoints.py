"""The original's files: both spellings, sizes from shapes, slim conversion; wrong files are refused with the reason."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from anitalker.cli import main
from anitalker.config import InputError
from anitalker.models import loading
from anitalker.network_config import VARIANTS, DenoiserConfig, StageOneConfig, from_dict
from anitalker.original import checkpoints
from anitalker.weights import tensor_io
from anitalker.weights.weight_file import open_weights

STAGE_ONE = StageOneConfig(size=16, style=12, motion=5, channels=(12, 8, 6))
TINY = {"motion": 5, "start": 12, "hubert": 10, "hubert_layers": 3, "mfcc": 7, "mfcc_hidden": 6, "width": 16}
TINY |= {"speech_layers": 1, "speech_hidden": 9, "decoder_layers": 1, "decoder_hidden": 11, "side": 4, "control": 3}
DEAD = {"dec.to_rgb1.bias": (1, 3, 1, 1), "dec.conv1.noise.weight": (1,), "dec.convs.0.conv.blur.kernel": (4, 4)}
DEAD |= {"enc.net_decouping.identity_net_density.0.weight": (12, 12)}


class Code:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


def tensors_of(config):
    torch.manual_seed(0)
    state = checkpoints.network(config).state_dict()
    return {name: torch.randn(t.shape) if t.is_floating_point() else t + 7 for name, t in state.items()}


def tiny(variant):
    """A narrow denoiser with the sizes that its variant has and the published ones for the rest."""
    speech = VARIANTS[variant][0]
    unused = (
        ("mfcc", "mfcc_hidden") if speech == "hubert" else ("hubert", "hubert_layers", "speech_layers", "speech_hidden")
    )
    sizes = {name: size for name, size in TINY.items() if name not in unused}
    if not VARIANTS[variant][1]:
        del sizes["control"]
    return DenoiserConfig(variant, **sizes)


@pytest.fixture
def stage_one(tmp_path):
    """The file as it is published, and its tensors that count."""
    live = tensors_of(STAGE_ONE)
    torch.save(live | {name: torch.zeros(shape) for name, shape in DEAD.items()}, tmp_path / "stage1.ckpt")
    return tmp_path / "stage1.ckpt", live


def spelled(live):
    """A file of stage two: averaged weights, live weights, and the buffer that nobody uses."""
    whole = {"x_T": torch.randn(2, 3, 8, 8)}
    whole |= {f"model.{name}": torch.zeros_like(tensor) for name, tensor in live.items()}
    return whole | {f"ema_model.{name}": tensor for name, tensor in live.items()}


@pytest.fixture
def stage_two(tmp_path):
    live = tensors_of(tiny("mfcc_full_control"))
    torch.save(spelled(live), tmp_path / "stage2.ckpt")
    return tmp_path / "stage2.ckpt", live


def same(actual, wanted):
    assert actual.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(actual[name], tensor), name


def refused(words, read, path):
    with pytest.raises(InputError, match=words) as error:
        read(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value) and len(str(error.value)) < 700
    return str(error.value)


def changed(path, change):
    """The same file after `change` was applied to its dict."""
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def test_stage_one_as_published(stage_one):
    path, live = stage_one
    config, actual = checkpoints.read_stage_one(path)
    same(actual, live)
    assert config["kind"] == "original_stage1" and from_dict(StageOneConfig, config["stage1"]) == STAGE_ONE


@pytest.mark.parametrize("wrapped", [False, True])
def test_stage_one_as_trained(stage_one, tmp_path, wrapped):
    """`lia.` before the names, keys that only training needs, and the wrapper of a training framework."""
    path, live = stage_one
    whole = {f"lia.{name}": tensor for name, tensor in torch.load(path).items()}
    whole |= {"disc.final.weight": torch.ones(3, 3), "loss.center": torch.zeros(7), "enc.other.bias": torch.ones(2)}
    torch.save({"state_dict": whole, "epoch": 3} if wrapped else whole, tmp_path / "lia.pt")
    same(checkpoints.read_stage_one(tmp_path / "lia.pt")[1], live)


@pytest.mark.parametrize("variant", VARIANTS)
def test_stage_two_is_recognised(tmp_path, variant):
    live = tensors_of(tiny(variant))
    torch.save(spelled(live), tmp_path / "x.ckpt")
    config, actual = checkpoints.read_stage_two(tmp_path / "x.ckpt")
    same(actual, live)
    assert config["kind"] == "original_stage2" and from_dict(DenoiserConfig, config["stage2"]) == tiny(variant)


def test_published_sizes_are_the_defaults():
    """Without any tensor to tell otherwise, the sizes are those that were published."""
    for variant in VARIANTS:
        names = checkpoints.expected_tensors(DenoiserConfig(variant))
        assert checkpoints.denoiser_config(variant, names) == DenoiserConfig(variant)
    assert checkpoints.stage_one_config(checkpoints.expected_tensors(StageOneConfig())) == StageOneConfig()


READ = {"stage1": checkpoints.read_stage_one, "stage2": checkpoints.read_stage_two}
FILES = [("stage_one", READ["stage1"], "stage1"), ("stage_two", READ["stage2"], "stage2")]


@pytest.mark.slow
@pytest.mark.parametrize(("which", "read", "config_key"), FILES)
def test_conversion(which, read, config_key, request, tmp_path, capsys):
    path, live = request.getfixturevalue(which)
    output = tmp_path / "slim.safetensors"
    assert main(["models", "convert", str(path), str(output), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["bytes_after"] == output.stat().st_size < facts["bytes_before"] == path.stat().st_size
    assert facts["tensors"] == len(live) and facts["dropped"] == len(torch.load(path)) - len(live) > 0
    with safe_open(output, "pt") as file:
        assert set(file.keys()) == set(live)
        assert file.metadata()["config"] == json.dumps(read(path)[0])
        assert read(path)[0]["kind"] == f"original_{config_key}"
    same(read(output)[1], live)
    assert read(output)[0] == read(path)[0]
    again = checkpoints.convert(open_weights(output), tmp_path / "again.safetensors")  # nothing is left to drop
    assert again["dropped"] == 0 and (tmp_path / "again.safetensors").read_bytes() == output.read_bytes()


def test_conversion_of_ours(tmp_path, untrained_model, capsys):
    config, tensors = tensor_io.read(untrained_model)
    torch.save({"config": config, "weights": tensors}, tmp_path / "ours.pt")
    assert main(["models", "convert", str(tmp_path / "ours.pt"), str(tmp_path / "ours.safetensors")]) == 0
    assert "MB" in capsys.readouterr().out
    same(loading.read(tmp_path / "ours.safetensors")[1], loading.read(untrained_model)[1])


@pytest.mark.parametrize("output", ["x.pt", "missing/x.safetensors", "stage1.ckpt"])
def test_conversion_does_not_write_anywhere(stage_one, tmp_path, capsys, output):
    before = sorted(tmp_path.iterdir())
    assert main(["models", "convert", str(stage_one[0]), str(tmp_path / output)]) == 2
    assert capsys.readouterr().err.startswith("error: output") and sorted(tmp_path.iterdir()) == before


def test_conversion_keeps_its_input(stage_one, tmp_path, capsys):
    whole = tmp_path / "raw.safetensors"
    save_file(torch.load(stage_one[0]), whole)
    before = whole.read_bytes()
    assert main(["models", "convert", str(whole), str(whole)]) == 2
    assert "choose another name" in capsys.readouterr().err and whole.read_bytes() == before
    assert main(["models", "convert", str(tmp_path), str(tmp_path / "x.safetensors")]) == 2
    assert "scripts.export" in capsys.readouterr().err


def test_the_original_s_spelling_in_safetensors(stage_one, stage_two, tmp_path):
    for (path, live), read in zip((stage_one, stage_two), (row[1] for row in FILES), strict=True):
        save_file(torch.load(path), tmp_path / "raw.safetensors")
        same(read(tmp_path / "raw.safetensors")[1], live)


def test_stages_are_not_confused(stage_one, stage_two, tmp_path):
    for path, read, words in (
        (stage_two[0], checkpoints.read_stage_one, "stage two, not its stage one; give them as --stage2"),
        (stage_one[0], checkpoints.read_stage_two, "stage one, not its stage two; give them as --stage1"),
    ):
        refused(words, read, path)
        checkpoints.convert(open_weights(path), tmp_path / "slim.safetensors")
        refused(words, read, tmp_path / "slim.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize(("which", "read", "config_key"), FILES)
def test_missing_keys_are_named(which, read, config_key, request):
    path, live = request.getfixturevalue(which)
    whole = torch.load(path)
    for name in list(live)[:: len(live) // 12]:
        torch.save({key: tensor for key, tensor in whole.items() if not key.endswith(name)}, path)
        assert f"missing: {name}" in refused("do not fit the original's stage", read, path)


@pytest.mark.slow
@pytest.mark.parametrize(("which", "read", "config_key"), FILES)
def test_wrong_widths_are_named(which, read, config_key, request):
    path, live = request.getfixturevalue(which)
    whole = torch.load(path)
    for name, tensor in list(live.items())[3 :: len(live) // 12]:
        full = name if which == "stage_one" else f"ema_model.{name}"
        torch.save({**whole, full: torch.zeros(*tensor.shape, 2)}, path)
        refused("do not fit the original's stage", read, path)
    first = "enc.fc.1.weight" if which == "stage_one" else "ema_model.location_encoder.fc.bias"
    torch.save({**whole, first: torch.zeros(3, 7)}, path)
    message = refused("do not fit", read, path)
    assert f"{first.removeprefix('ema_model.')} is [3, 7] instead of [" in message


def test_a_wrong_width_of_the_published_size_is_named():
    """One tensor off is said to be off, whatever sizes it would suggest for the others."""
    off = {"dec.direction.weight": torch.zeros(512, 21)}
    published = checkpoints.expected_tensors(StageOneConfig()) | off
    with pytest.raises(InputError, match=re.escape("wrong: dec.direction.weight is [512, 21] instead of [512, 20];")):
        checkpoints._slim(Path("x"), "original_stage1", None, published)


def test_live_weights_do_not_stand_in(stage_two):
    """What is missing in ema_model.* is missing, though model.* has it."""
    name = "coarse_decoder.encoders.0.norm_mha.weight"
    path = changed(stage_two[0], lambda content: content.pop(f"ema_model.{name}"))
    assert name in refused("missing", checkpoints.read_stage_two, path)
    torch.save({key: t for key, t in torch.load(path).items() if not key.startswith("ema_model.")}, path)
    refused("have no ema_model", checkpoints.read_stage_two, path)


def test_nan_is_refused_where_it_matters(stage_two):
    def spoil(prefix):
        def change(content):
            content[f"{prefix}.out_proj.bias"][1] = float("nan")

        return change

    checkpoints.read_stage_two(changed(stage_two[0], spoil("model")))
    path = changed(stage_two[0], spoil("ema_model"))
    assert "out_proj.bias" in refused("NaN", checkpoints.read_stage_two, path)


def test_hears_but_obeys_nothing(tmp_path):
    """MFCC without pose is none of the five."""
    live = {name: t for name, t in tensors_of(tiny("mfcc_pose_only")).items() if not name.startswith("pose_")}
    torch.save(spelled(live), tmp_path / "x.ckpt")
    refused("none of hubert_audio_only", checkpoints.read_stage_two, tmp_path / "x.ckpt")


def test_foreign_files(tmp_path, untrained_model):
    torch.save({"conv.weight": torch.ones(3)}, tmp_path / "x.pt")
    for read in READ.values():
        assert "conv.weight" in refused("not the original's stage", read, tmp_path / "x.pt")
        refused("not the original's stage", read, untrained_model)


@pytest.mark.parametrize("read", READ.values())
def test_what_is_no_weight_file(tmp_path, read):
    (tmp_path / "x.ckpt").write_text("hello")
    refused("get them again", read, tmp_path / "x.ckpt")
    torch.save({"enc.a": torch.randn(1000), "ema_model.a": torch.ones(3)}, tmp_path / "x.ckpt")
    (tmp_path / "x.ckpt").write_bytes((tmp_path / "x.ckpt").read_bytes()[:-200])
    refused("damaged", read, tmp_path / "x.ckpt")


def test_a_payload_does_not_run(stage_one, tmp_path, capsys):
    """In the middle of an otherwise right file, by every way in; and the payload is a true one."""
    path, target = stage_one[0], tmp_path / "it-ran"
    torch.save({**torch.load(path), "lia.loss": Code(target)}, path)
    for read in (*READ.values(), open_weights, lambda path: loading.load_original(path, path)):
        refused("hold code", read, path)
    assert main(["models", "convert", str(path), str(tmp_path / "slim.safetensors")]) == 2
    assert not target.exists() and not (tmp_path / "slim.safetensors").exists()
    torch.load(path, weights_only=False)["lia.loss"].close()
    assert target.exists()


@pytest.mark.parametrize(
    "stored",
    [None, {}, {"variant": "other"}, {"variant": "mfcc_pose_only", "motion": "20"}, {"motion": 10**12}, {"heads": 0}],
)
def test_forged_configs(stage_two, tmp_path, stored):
    tensor_io.write(tmp_path / "x.safetensors", {"kind": "original_stage2", "stage2": stored}, stage_two[1])
    refused("weights", checkpoints.read_stage_two, tmp_path / "x.safetensors")


def test_loading(stage_one, stage_two):
    first, second = loading.load_original(stage_one[0], stage_two[0])
    same(first.state_dict(), stage_one[1])
    same(second.state_dict(), stage_two[1])
    assert not first.training and not any(parameter.requires_grad for parameter in second.parameters())
    kinds = [checkpoints.recognise(*tensor_io.read(path)) for path in (stage_one[0], stage_two[0])]
    assert kinds == ["original_stage1", "original_stage2"]
    assert [file.path for file in loading.open_model(stage_two[0], stage_one[0])] == [stage_one[0], stage_two[0]]
    assert len(loading.open_model("lite")) == 1


def test_half_precision(stage_two, tmp_path):
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in stage_two[1].items()}
    torch.save(spelled(half), tmp_path / "half.ckpt")
    loaded = checkpoints.load(open_weights(tmp_path / "half.ckpt"), "original_stage2").state_dict()
    same(loaded, {name: tensor.float() if tensor.dtype == torch.half else tensor for name, tensor in half.items()})


def test_which_stage_two_is_taken(stage_one, stage_two, tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.setenv("ANITALKER_CHECKPOINTS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    with pytest.raises(InputError, match="run `anitalker models fetch stage1 mfcc_full_control`"):
        loading.load_original()
    with pytest.raises(InputError, match="run `anitalker models fetch stage1`"):
        loading.load_original(stage2=stage_two[0])
    stage_one[0].rename(folder / "stage1.pt")
    for variant in ("hubert_audio_only", "mfcc_pose_only", "hubert_full_control", "mfcc_full_control"):
        torch.save(spelled(tensors_of(tiny(variant))), folder / f"{variant}.pt")
        taken = loading.load_original()[1].config.variant
        assert taken == ("hubert_audio_only" if variant == "mfcc_pose_only" else variant)
