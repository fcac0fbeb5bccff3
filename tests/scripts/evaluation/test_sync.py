"""SyncNet: the published names and sizes, the sound it hears, and an offset that was planted."""

import numpy as np
import pytest
import torch

from anitalker.config import InputError
from scripts.evaluation import sync


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return sync.SyncNetwork().eval()


def test_names_and_sizes_are_those_of_the_published_file(network):
    state = network.state_dict()
    expected = {
        "netcnnaud.0.weight": (64, 1, 3, 3),
        "netcnnaud.4.weight": (192, 64, 3, 3),
        "netcnnaud.8.weight": (384, 192, 3, 3),
        "netcnnaud.18.weight": (512, 256, 5, 4),
        "netcnnaud.19.running_var": (512,),
        "netcnnlip.0.weight": (96, 3, 5, 7, 7),
        "netcnnlip.4.weight": (256, 96, 1, 5, 5),
        "netcnnlip.18.weight": (512, 256, 1, 6, 6),
        "netfcaud.3.weight": (1024, 512),
        "netfclip.0.bias": (512,),
    }
    assert {key: tuple(state[key].shape) for key in expected} == expected
    assert len(state) == 2 * (6 * 7 + 9)  # six convolutions and two linear layers, with their normalisations


@torch.inference_mode()
def test_both_towers_end_in_one_space(network):
    assert network.lips(torch.zeros(1, 3, 5, sync.SIDE, sync.SIDE)).shape == (1, 1024)
    assert network.sound(torch.zeros(2, 1, 13, 20)).shape == (2, 1024)


@pytest.mark.parametrize("late", [0, 4, -7])
def test_a_planted_offset_is_found(late):
    speech = torch.randn(120, 16, generator=torch.manual_seed(0))
    found = sync.confidence(speech.roll(late, 0), speech)
    assert found["offset"] == late and found["lse_c"] > 3 and found["lse_d"] < 2.5
    unrelated = sync.confidence(torch.randn(120, 16, generator=torch.manual_seed(1)), speech)
    assert unrelated["lse_c"] < 1


def test_every_frame_hears_its_own_sound():
    speech = np.zeros(50 * 640, np.float32)
    speech[25 * 640 :] = 0.3 * np.sin(np.arange(25 * 640))
    windows = sync.sound_windows(speech, 50)
    assert windows.shape[1:] == (13, 20) and 44 <= len(windows) <= 50
    loud = windows[:, 0].mean(1)  # the first is the energy
    assert loud[:20].max() < loud[25:].min() - 5
    with pytest.raises(InputError, match=r"0.2 s"):
        sync.sound_windows(np.zeros(640, np.float32), 50)


def test_mouths_are_cut_below_the_middle_of_the_face(fakes):
    points = np.repeat(fakes.face()[None], 3, 0)
    frames = np.zeros((3, 64, 64, 3), np.uint8)
    frames[:, :, :, 0] = np.arange(64)[:, None]  # red says the row
    cut = sync.mouths(frames, points)
    assert cut.shape == (3, 3, sync.SIDE, sync.SIDE) and not cut[:, :2].any()  # blue and green first
    assert cut[0, 2, sync.SIDE // 2].mean() > 32 + 3


@pytest.mark.slow
def test_weights_of_another_network_are_a_usage_error(tmp_path, network):
    torch.save({"a": torch.zeros(1)}, tmp_path / "wrong.model")
    with pytest.raises(InputError, match="syncnet_v2"):
        sync.SyncNet(str(tmp_path / "wrong.model"))
    torch.save(network.state_dict(), tmp_path / "right.model")
    points = np.repeat(np.random.default_rng(0).random((1, 468, 3)).astype(np.float32), 7, 0)
    made = sync.SyncNet(str(tmp_path / "right.model"))(np.zeros((7, 64, 64, 3), np.uint8), points, np.zeros(8000))
    assert set(made) == {"lse_c", "lse_d", "offset"} and np.isfinite(made["lse_d"])
