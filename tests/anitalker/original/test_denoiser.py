"""The original's motion generator: names, relative positions by the equation, signals, the condition of a clip."""

import math

import pytest
import torch

from anitalker.config import InputError
from anitalker.network_config import VARIANTS, DenoiserConfig, from_dict, to_dict
from anitalker.original import denoiser

SIZES = dict(motion=6, start=10, hubert=12, hubert_layers=4, mfcc=9, mfcc_hidden=7, width=16, speech_layers=2)
MORE = dict(speech_hidden=20, decoder_hidden=24, side=4, control=5, kernel=5)
LINEAR = ("weight", "bias")
LAYER = [
    *(f"self_attn.linear_{name}.{suffix}" for name in ("q", "k", "v", "out") for suffix in LINEAR),
    *("self_attn.linear_pos.weight", "self_attn.pos_bias_u", "self_attn.pos_bias_v"),
    *(
        f"{name}.w_{i}.{suffix}"
        for name in ("feed_forward", "feed_forward_macaron")
        for i in (1, 2)
        for suffix in LINEAR
    ),
    *(f"conv_module.{name}.{suffix}" for name in ("pointwise_conv1", "depthwise_conv", "norm") for suffix in LINEAR),
    *(f"conv_module.pointwise_conv2.{suffix}" for suffix in LINEAR),
    *(f"conv_module.norm.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")),
    *(f"norm_{name}.{suffix}" for name in ("ff", "mha", "ff_macaron", "conv", "final") for suffix in LINEAR),
]
LSTM = [f"lstm.{name}_{side}_l{i}" for name in LINEAR for side in ("ih", "hh") for i in (0, 1)]
ENDS = ("encoder_direction_code", "init_code_proj.0", "noisy_encoder.0", "t_encoder.0", "out_proj")


def build(variant: str, seed: int = 0) -> denoiser.Denoiser:
    """A narrow network in which nothing is zero or one."""
    torch.manual_seed(seed)
    net = denoiser.Denoiser(DenoiserConfig(variant=variant, **SIZES, **MORE)).eval()
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            value.add_(0.3 * torch.randn_like(value).abs() if name.endswith("var") else 0.3 * torch.randn_like(value))
    return net


def inputs(net: denoiser.Denoiser, frames: int, batch: int = 1):
    """Sound, appearance, motion, controls, noisy motion."""
    config = net.config
    size = config.hubert if config.hears == "hubert" else config.mfcc
    sound = torch.randn(batch, frames * config.sound_rate, size)
    controls = {"location": torch.rand(batch, frames, 1), "scale": torch.rand(batch, frames, 1)}
    controls["pose"] = torch.rand(batch, frames, 3) - 0.5
    portrait = torch.randn(batch, config.start), torch.randn(batch, config.motion)
    return sound, *portrait, controls, torch.randn(batch, frames, config.motion)


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_are_those_of_the_published_weights(variant):
    hears, signals = VARIANTS[variant]
    wanted = [f"coarse_decoder.encoders.{i}.{name}" for i in (0, 1) for name in LAYER]
    wanted += [f"{name}.{suffix}" for name in (*ENDS, "down_sample1") for suffix in LINEAR]
    if hears == "hubert":
        wanted += ["weights", *(f"speech_encoder.encoders.{i}.{name}" for i in (0, 1) for name in LAYER)]
    else:
        wanted += ["down_sample2.weight", "down_sample2.bias"]
    spelled = {"location": "location", "scale": "face_scale", "pose": "pose"}
    for signal in signals:
        for suffix in ("predictor", "encoder"):
            wanted += [f"{spelled[signal]}_{suffix}.{name}" for name in (*LSTM, "fc.weight", "fc.bias")]
    assert set(build(variant).state_dict()) == set(wanted)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("frames", [1, 2, 9])
@torch.no_grad()
def test_any_length(variant, frames):
    net = build(variant)
    sound, start, motion, controls, noisy = inputs(net, frames)
    condition = net.condition(sound, start, motion, controls)
    assert list(condition.signals) == list(VARIANTS[variant][1])
    noise = net(condition, noisy, torch.tensor([500]))
    assert noise.shape == noisy.shape and noise.isfinite().all()


def test_unknown_variant_is_refused():
    with pytest.raises(InputError, match="mfcc_full_control"):
        DenoiserConfig(variant="mfcc")
    config = DenoiserConfig(variant="mfcc_pose_only", **SIZES)
    assert from_dict(DenoiserConfig, to_dict(config)) == config


def by_the_book(layer: denoiser.RelativeAttention, x: torch.Tensor) -> torch.Tensor:
    """Attention of [T,D], one pair of frames after the other, with the sinusoid of their distance."""
    frames, width = x.shape
    size = width // layer.heads
    rates = [10_000 ** (-2 * m / width) for m in range(width // 2)]
    q, k, v = layer.linear_q(x), layer.linear_k(x), layer.linear_v(x)
    out = torch.zeros(frames, width)
    for head in range(layer.heads):
        columns = slice(head * size, (head + 1) * size)
        u, w = layer.pos_bias_u[head], layer.pos_bias_v[head]
        scores = torch.zeros(frames, frames)
        for i in range(frames):
            for j in range(frames):
                wave = [f((i - j) * rate) for rate in rates for f in (math.sin, math.cos)]
                place = layer.linear_pos(torch.tensor(wave))[columns]
                scores[i, j] = ((q[i, columns] + u) @ k[j, columns] + (q[i, columns] + w) @ place) / size**0.5
        out[:, columns] = scores.softmax(-1) @ v[:, columns]
    return layer.linear_out(out)


@pytest.mark.parametrize("frames", [1, 2, 7])
@pytest.mark.parametrize("rows", [1, 3, 256])
@torch.no_grad()
def test_attention_is_that_of_the_equation(monkeypatch, frames, rows):
    """However many frames attend at once; distances have a sign, and each head has its bias."""
    monkeypatch.setattr(denoiser, "QUERY_ROWS", rows)
    layer = build("mfcc_pose_only").coarse_decoder.encoders[0].self_attn
    x = torch.randn(2, frames, 32)
    attended = layer(x, layer.table(denoiser.sinusoids(frames, 32)))
    for clip in (0, 1):
        assert torch.allclose(attended[clip], by_the_book(layer, x[clip]), atol=1e-5)


@torch.no_grad()
def test_convolution_by_the_book():
    """The second half gates the first; batch norm uses what was measured in training, clips of any length alike."""
    module = build("mfcc_pose_only").coarse_decoder.encoders[0].conv_module
    x = torch.randn(1, 7, 32)
    y = x @ module.pointwise_conv1.weight[..., 0].T + module.pointwise_conv1.bias
    y = torch.nn.functional.pad(y[0, :, :32] * torch.sigmoid(y[0, :, 32:]), (0, 0, 2, 2))
    y = torch.stack([(y[i : i + 5].T * module.depthwise_conv.weight[:, 0]).sum(1) for i in range(7)])
    y = y + module.depthwise_conv.bias
    norm = module.norm
    y = (y - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias
    y = y * torch.sigmoid(y)
    wanted = y @ module.pointwise_conv2.weight[..., 0].T + module.pointwise_conv2.bias
    assert torch.allclose(module(x)[0], wanted, atol=1e-4)


@torch.no_grad()
def test_layer_is_post_norm_and_macaron():
    layer = build("mfcc_pose_only").coarse_decoder.encoders[0]
    x, table = torch.randn(1, 5, 32), layer.self_attn.table(denoiser.sinusoids(5, 32))
    y = layer.norm_ff_macaron(x + layer.feed_forward_macaron(x) / 2)
    y = layer.norm_mha(y + layer.self_attn(y, table))
    y = layer.norm_conv(y + layer.conv_module(y))
    y = layer.norm_ff(y + layer.feed_forward(y) / 2)
    assert torch.allclose(layer(x, table), layer.norm_final(y), atol=1e-6)
    # The stack scales its input by the root of its width first.
    stack = denoiser.Conformer(32, 24, 1, 2, 5).eval()
    stack.encoders[0] = layer
    assert torch.allclose(stack(x, [table]), layer(x * 32**0.5, table), atol=1e-5)


@pytest.mark.parametrize("variant", ["hubert_full_control", "mfcc_full_control"])
@torch.no_grad()
def test_batch_equals_one_by_one(variant):
    net = build(variant)
    sound, start, motion, controls, noisy = inputs(net, 6, batch=3)
    times = torch.tensor([980.0, 500.0, 0.0])
    together = net(net.condition(sound, start, motion, controls), noisy, times)
    for i in range(3):
        row = {name: value[i : i + 1] for name, value in controls.items()}
        condition = net.condition(sound[i : i + 1], start[i : i + 1], motion[i : i + 1], row)
        assert torch.allclose(net(condition, noisy[i : i + 1], times[i : i + 1]), together[i : i + 1], atol=1e-4)


@torch.no_grad()
def test_one_sound_serves_many_portraits():
    net = build("hubert_audio_only")
    sound, start, motion, _, noisy = inputs(net, 6, batch=2)
    shared = net(net.condition(sound[:1], start, motion), noisy, torch.tensor([500, 500]))
    expanded = net(net.condition(sound[:1].expand(2, -1, -1), start, motion), noisy, torch.tensor([500, 500]))
    assert torch.allclose(shared, expanded, atol=1e-5)


@torch.no_grad()
def test_hidden_states_may_come_weighted():
    net = build("hubert_pose_only")
    _, start, motion, controls, _ = inputs(net, 5)
    states = torch.randn(1, 4, 10, 12)
    weighted = sum(weight * state for weight, state in zip(net.layer_weights(), states[0], strict=True))
    whole, short = (
        net.condition(states, start, motion, controls),
        net.condition(weighted[None], start, motion, controls),
    )
    assert math.isclose(float(net.layer_weights().sum()), 1, abs_tol=1e-6)
    assert torch.allclose(whole.fixed, short.fixed, atol=1e-5)


@pytest.mark.parametrize("variant", ["hubert_audio_only", "mfcc_pose_only"])
@torch.no_grad()
def test_features_behind_the_last_video_frame_are_not_used(variant):
    net = build(variant)
    sound, start, motion, _, _ = inputs(net, 4)
    rate = net.config.sound_rate
    assert torch.equal(net.encode_speech(sound[:, :-1]), net.encode_speech(sound[:, :-rate]))
    with pytest.raises(ValueError, match="a video frame needs"):
        net.condition(sound[:, : rate - 1], start, motion)


@torch.no_grad()
def test_signals_passed_missing_or_incomplete():
    """Signals are used as they are; those that are missing, NaN or switched off are predicted from the speech."""
    net = build("mfcc_full_control")
    sound, start, motion, controls, _ = inputs(net, 6)
    passed = net.condition(sound, start, motion, controls).signals
    assert all(torch.equal(passed[name], controls[name]) for name in controls)
    free = net.condition(sound, start, motion).signals
    ignored = net.condition(sound, start, motion, controls, use_controls=False).signals
    assert all(torch.equal(free[name], ignored[name]) for name in controls)
    pose = controls["pose"].clone()
    pose[..., 1:] = math.nan
    partial = net.condition(sound, start, motion, {"pose": pose}).signals
    assert torch.equal(partial["location"], free["location"])
    assert torch.equal(partial["pose"][..., :1], controls["pose"][..., :1])
    assert torch.equal(partial["pose"][..., 1:], free["pose"][..., 1:])


@torch.no_grad()
def test_signals_follow_one_another():
    """Location, then scale, then pose: each prediction knows what came before it, and nothing of what comes after."""
    net = build("mfcc_full_control")
    sound, start, motion, controls, _ = inputs(net, 6)
    free = net.condition(sound, start, motion).signals
    for first, name in enumerate(free):
        changed = net.condition(sound, start, motion, {name: controls[name]}).signals
        for later, other in enumerate(free):
            if other != name:
                assert torch.allclose(changed[other], free[other], atol=1e-6) == (later < first)


@torch.no_grad()
def test_audio_only_ignores_signals():
    net = build("hubert_audio_only")
    sound, start, motion, controls, _ = inputs(net, 6)
    with_, without = net.condition(sound, start, motion, controls), net.condition(sound, start, motion)
    assert torch.equal(with_.fixed, without.fixed) and not with_.signals


@torch.no_grad()
def test_time_stays_exact_in_bfloat16():
    """979 and 980 differ under autocast as they do without: the layer of the time runs in float32."""
    net = build("mfcc_pose_only")
    sound, start, motion, controls, noisy = inputs(net, 6)
    condition, seen = net.condition(sound, start, motion, controls), []
    net.coarse_decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][..., -4:]))
    exact = net(condition, noisy, torch.tensor([980]))
    with torch.autocast("cpu", torch.bfloat16):
        low = net(condition, noisy, torch.tensor([980]))
        net(condition, noisy, torch.tensor([979]))
    assert torch.equal(seen[0], seen[1])
    assert torch.allclose(seen[1] - seen[2], net.t_encoder[0].weight[:, 0].expand(1, 6, -1), atol=1e-3)
    assert low.dtype == torch.float32
    assert 0 < (low - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_reaches_every_parameter(variant):
    net = build(variant).train()
    sound, start, motion, _, noisy = inputs(net, 6)
    if net.config.hears == "hubert":
        sound = torch.randn(1, 4, *sound.shape[1:])
    net(net.condition(sound, start, motion), noisy, torch.tensor([500])).square().sum().backward()
    without = {name for name, value in net.named_parameters() if value.grad is None or not value.grad.any()}
    # A shift of all scores of a query is none after the softmax: keys' biases cannot matter.
    assert all(name.endswith("linear_k.bias") for name in without)


def test_tables_know_ahead_from_behind():
    waves = denoiser.sinusoids(4, 6)  # distances 3, 2, 1, 0, -1, -2, -3
    assert waves.shape == (7, 6)
    assert torch.equal(waves[:, 0::2], -waves.flip(0)[:, 0::2]) and torch.equal(waves[:, 1::2], waves.flip(0)[:, 1::2])
    assert math.isclose(float(waves[0, 0]), math.sin(3), abs_tol=1e-6)
    assert math.isclose(float(waves[2, 3]), math.cos(10_000 ** (-2 / 6)), abs_tol=1e-6)
