"""The motion transformer and its windows: contracts on a tiny network with random weights."""

import math

import pytest
import torch

from anitalker.motion.generator import CONTROL_INDICES, MotionGenerator
from anitalker.motion.windows import EASE_IN_FRAMES, MAX_SWAY, MotionStream, SamplingParams, generate_motion
from anitalker.network_config import GeneratorConfig

TINY = GeneratorConfig(
    speech_size=7, width=16, layers=2, heads=2, speech_layers=1, window=20, previous=6, lookahead=4, dropout=0.0,
    motion_mean=(0.0,) * 6 + (0.1,) * 14, motion_std=(0.1,) * 6 + (0.2,) * 14,
)  # fmt: skip


@pytest.fixture(scope="module")
def network():
    """Random weights everywhere, also where training begins with zeros."""
    torch.manual_seed(0)
    network = MotionGenerator(TINY).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    network.spoken.copy_(torch.diag(torch.tensor([0.0] * 6 + [1.0] * 13 + [0.0])))
    return network


@pytest.fixture(scope="module")
def start():
    return 0.1 * torch.randn(1, 20, generator=torch.Generator().manual_seed(1))


def speech(frames: int) -> torch.Tensor:
    return torch.randn(1, frames, 7, generator=torch.Generator().manual_seed(2))


def motion(network, start, frames=50, seed=0, **params):
    params = SamplingParams(**{"steps": 2, "guidance": 1.0, **params})
    return generate_motion(network, speech(frames), start, torch.Generator().manual_seed(seed), params)


@pytest.mark.parametrize("frames", [0, 1, 2, 19, 20, 21, 22, 37, 95])
def test_as_many_frames_as_speech(network, start, frames):
    generated = motion(network, start, frames)
    assert generated.shape == (frames, 20) and generated.isfinite().all()


def test_the_first_frame_is_the_portrait_and_is_left_smoothly(network, start):
    generated = motion(network, start)
    assert torch.equal(generated[0], start[0])
    steps = generated.diff(dim=0).norm(dim=-1)
    assert steps[0] < 0.25 * steps[EASE_IN_FRAMES:].mean()


def test_same_seed_same_motion(network, start):
    assert torch.equal(motion(network, start, seed=3), motion(network, start, seed=3))
    assert not torch.allclose(motion(network, start, seed=3)[5:], motion(network, start, seed=4)[5:], atol=1e-3)


def test_speech_moves_the_face(network, start):
    rng = torch.Generator().manual_seed(0)
    other = generate_motion(network, -speech(50), start, rng, SamplingParams(steps=2, guidance=1.0))
    assert not torch.allclose(other, motion(network, start), atol=1e-2)


def test_guidance_one_is_the_plain_network(network, start):
    assert torch.allclose(motion(network, start, guidance=1.0), motion(network, start, guidance=1.000001), atol=1e-4)
    assert not torch.allclose(motion(network, start, guidance=1.0), motion(network, start, guidance=3.0), atol=1e-2)


def test_without_guidance_nothing_is_asked_for_no_speech(network, start):
    """Guidance 1 needs half of the work, and gives what guidance next to 1 gives."""
    batches = []

    def call(noisy, *conditions, **options):
        batches.append(len(noisy))
        return network(noisy, *conditions, **options)

    rng = torch.Generator().manual_seed
    plain, guided = (
        generate_motion(network_with(network, call), speech(50), start, rng(0), SamplingParams(steps=2, guidance=scale))
        for scale in (1.0, 1.0 + 1e-6)
    )
    assert set(batches[: len(batches) // 2]) == {1} and set(batches[len(batches) // 2 :]) == {2}
    assert torch.allclose(plain, guided, atol=1e-4)


def network_with(network, call):
    """The network with another forward."""
    names = ("encode_speech", "lips", "spoken", "config", "normalise", "denormalise", "mean", "std")
    attributes = {name: getattr(network, name) for name in names}
    return type("Fake", (), {"__call__": staticmethod(call), **attributes})()


def test_temperature_leaves_lids_and_head_their_noise(network, start):
    """With temperature 0 two seeds differ by the noise of the unspoken numbers only."""
    seen = []

    def fake(x, *_, **__):
        seen.append(x.clone())
        return x

    stream = MotionStream(
        network, start, torch.Generator().manual_seed(0), SamplingParams(steps=1, guidance=1.0, temperature=0.0)
    )
    stream.network = network_with(network, fake)
    stream.push(speech(20), last=True)
    assert seen[0][..., 6:19].abs().max() < 1e-5
    assert seen[0][..., :6].std() > 0.2 and seen[0][..., 19].std() > 0.5


def test_streaming_pieces_do_not_change_the_motion(network, start):
    """Windows are cut by what the stream holds back, so speech in pieces of any size gives what the whole gives."""
    whole = motion(network, start, 70)
    stream = MotionStream(network, start, torch.Generator().manual_seed(0), SamplingParams(steps=2, guidance=1.0))
    sound, pieces = speech(70), []
    for at in range(0, 70, 3):
        pieces.append(stream.push(sound[:, at : at + 3], last=at + 3 >= 70))
    generated = torch.cat(pieces, 1)[0]
    assert generated.shape == whole.shape
    assert torch.allclose(generated, whole, atol=1e-4)


def test_a_short_window_bounds_the_latency(network, start):
    """With windows of 5 and 3 frames of look-ahead, a frame leaves at most 5 frames of speech after its own."""
    stream = MotionStream(
        network, start, torch.Generator().manual_seed(0), SamplingParams(steps=1, guidance=1.0), window=5, lookahead=3
    )
    out = 0
    for known, at in enumerate(range(40), start=1):
        out += stream.push(speech(40)[:, at : at + 1]).shape[1]
        assert out >= known - 5
    out += stream.push(speech(40)[:, :0], last=True).shape[1]
    assert out == 40


def test_memory_does_not_grow_with_length(network, start):
    stream = MotionStream(network, start, torch.Generator().manual_seed(0), SamplingParams(steps=1, guidance=1.0))
    for _ in range(20):
        stream.push(speech(16))
        assert stream.speech.shape[1] <= TINY.previous + TINY.window + 16
        assert stream.previous.shape[1] <= TINY.previous and stream.noise.shape[1] <= TINY.lookahead


def test_still_holds_the_head_only(network, start):
    generated = motion(network, start, still=True)
    assert torch.allclose(generated[:, :6], start[:, :6].expand(50, 6), atol=1e-5)
    assert generated[10:, 6:].std(0).min() > 1e-4


@pytest.mark.parametrize(("name", "value", "place"), [("yaw", 20.0, 0), ("pitch", -10.0, 1), ("roll", 5.0, 2)])
def test_angles_are_absolute_and_obeyed(network, start, name, value, place):
    generated = motion(network, start, **{name: value})
    assert (generated[TINY.previous :, place] - math.radians(value)).abs().max() <= MAX_SWAY + 1e-4


@pytest.mark.parametrize(
    ("name", "value", "place", "change"), [("scale", 1.1, 5, math.log(1.1)), ("location", 0.1, 3, 0.1)]
)
def test_scale_and_location_are_relative_to_the_portrait(network, start, name, value, place, change):
    generated = motion(network, start, **{name: value})
    assert (generated[TINY.previous :, place] - start[0, place] - change).abs().max() <= MAX_SWAY + 1e-4


def test_a_pose_file_is_followed_frame_by_frame(network, start):
    course = torch.stack([torch.linspace(-10, 10, 40), torch.linspace(0, 5, 40), torch.zeros(40)], 1)
    generated = motion(network, start, 50, pose=course)
    asked = torch.deg2rad(torch.cat([course, course[-1:].expand(10, 3)]))  # a short file keeps its last pose
    assert torch.allclose(generated[TINY.previous :, :3], asked[TINY.previous :], atol=1e-4)


def test_normalise_and_back(network, start):
    codes = torch.randn(1, 9, 20)
    assert torch.allclose(network.denormalise(network.normalise(codes, start), start), codes, atol=1e-5)


def test_a_moved_portrait_moves_the_motion(network, start):
    """What the network sees of pose is relative, so in normalised motion a portrait sits at zero wherever it is."""
    moved = start.clone()
    moved[:, 3] += 0.1
    for portrait in (start, moved):
        assert network.normalise(portrait[:, None], portrait)[..., :6].abs().max() < 1e-6


def test_batch_equals_one_by_one(network, start):
    gen = torch.Generator().manual_seed(0)
    noisy, previous = torch.randn(2, 8, 20, generator=gen), torch.randn(2, 3, 20, generator=gen)
    encoded = network.encode_speech(torch.randn(2, 11, 7, generator=gen))
    controls = torch.zeros(2, 11, len(CONTROL_INDICES))
    arguments = (noisy, torch.tensor([0.2, 0.7]), encoded, start.repeat(2, 1), previous, controls, controls)
    both = network(*arguments)
    second = network(*(a[1:] for a in arguments))
    assert torch.allclose(both[1:], second, atol=1e-5)


def test_gradient_reaches_every_parameter():
    torch.manual_seed(0)
    network = MotionGenerator(TINY)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    controls = torch.ones(2, 9, len(CONTROL_INDICES))
    encoded = network.encode_speech(torch.randn(2, 9, 7))
    drop_speech = torch.tensor([True, False])
    noisy, start, previous = torch.randn(2, 6, 20), torch.randn(2, 20), torch.randn(2, 3, 20)
    generated = network(noisy, torch.rand(2), encoded, start, previous, controls, controls, drop_speech)
    generated.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_names_of_the_weights_are_frozen():
    """Shipped weights must not be orphaned by a rename."""
    names = set(MotionGenerator(TINY).state_dict())
    block = {"attention.into", "attention.out", "near", "mlp.0", "mlp.3", "set"}
    expected = {f"blocks.{i}.{layer}" for i in range(2) for layer in block}
    expected |= {
        "speech.into",
        "speech.norms.0",
        "speech.layers.0",
        "speech.last",
        "into",
        "time.0",
        "time.2",
        "start.0",
        "start.2",
    }
    expected |= {"set", "out"}
    expected = {f"{name}.{kind}" for name in expected for kind in ("weight", "bias")} | {"no_speech", "spoken"}
    assert names == expected


@pytest.mark.cuda
def test_cuda_agrees_with_the_cpu(card, network, start):
    on_cpu = motion(network, start)
    moved = network.to(card)
    on_gpu = generate_motion(
        moved,
        speech(50).to(card),
        start.to(card),
        torch.Generator().manual_seed(0),
        SamplingParams(steps=2, guidance=1.0),
    )
    network.to("cpu")
    assert torch.allclose(on_gpu.cpu(), on_cpu, atol=1e-3)


def test_windows_fade_into_each_other(network, start):
    """Where two windows disagree by one, no frame steps by much; and in the end the later one counts."""
    stream = MotionStream(network, start, torch.Generator().manual_seed(0))
    windows = iter(range(100))
    stream._generate_window = lambda n: torch.full((1, n, TINY.motion_size), float(next(windows)))
    motion = network.normalise(stream.push(torch.zeros(1, 60, TINY.speech_size), last=True), start)[0, 1:, 9]
    assert motion[-1] == motion.max() >= 2
    assert motion.diff().max() < 0.4 and motion.diff().min() >= 0
