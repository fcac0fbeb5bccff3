"""Parity of the motion generator: every kind of key is made."""

import numpy as np
import pytest
import torch

from anitalker.motion import samplers
from anitalker.network_config import DenoiserConfig
from anitalker.original.denoiser import Denoiser
from scripts.evaluation import original_values as parity

TINY = dict(width=8, speech_hidden=8, decoder_hidden=8, side=2, control=4, mfcc_hidden=4, hubert=6, hubert_layers=4)
KEYS = [
    *("eps_t980_flag0", "eps_t980_flag1", "sample10_flag0", "sample10_flag1", "traj10_x", "traj10_x0"),
    *("T7_eps_t500", "T7_sample10", "mid_concat", "mid_audio_down", "mid_dec0_attn_probs", "mid_dec_layer1"),
    *("pred_location", "pred_scale", "pred_pose"),
]
OF_HUBERT = ["mid_audio_layer0", "mid_audio_encoded"]


class Maker:
    """Inputs as the recordings' own script gives them, narrow."""

    hubert_feats = staticmethod(lambda frames: np.full((1, 4, 2 * frames, 6), 0.3, np.float32))
    mfcc_feats = staticmethod(lambda frames: np.full((1, 4 * frames, 39), 0.3, np.float32))
    controls = staticmethod(lambda frames: tuple(np.full((1, frames, n), 0.1 * n, np.float32) for n in (1, 1, 3)))
    noise = staticmethod(lambda frames: np.random.default_rng(0).normal(size=(1, frames, 20)).astype(np.float32))
    start_code = staticmethod(lambda: np.ones((1, 512), np.float32))
    start_motion = staticmethod(lambda: np.ones((1, 20), np.float32))


@pytest.mark.parametrize("variant", ["hubert_full_control", "mfcc_full_control"])
def test_every_key_is_made(variant):
    torch.manual_seed(0)
    net = Denoiser(DenoiserConfig(variant=variant, speech_layers=1, **TINY)).eval()
    keys = KEYS + OF_HUBERT * (net.config.hears == "hubert")
    made = parity.motion(net, [*keys, "location", "unknown"], Maker)
    assert set(made) == set(keys)
    assert made["traj10_x"].shape == made["traj10_x0"].shape == (10, 1, 30, 20)
    assert made["T7_sample10"].shape == (1, 7, 20) and made["mid_dec0_attn_probs"].shape == (1, 2, 30, 30)
    np.testing.assert_allclose(made["mid_dec0_attn_probs"].sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(made["traj10_x"][-1], made["sample10_flag0"])
    assert not np.allclose(made["eps_t980_flag0"], made["eps_t980_flag1"])
    features = Maker.hubert_feats(30) if net.config.hears == "hubert" else Maker.mfcc_feats(30)
    start = [torch.from_numpy(x) for x in (features, Maker.start_code(), Maker.start_motion())]
    controls = dict(zip(("location", "scale", "pose"), map(torch.from_numpy, Maker.controls(30)), strict=True))
    with torch.no_grad():
        condition = net.condition(*start, controls, False)
    np.testing.assert_array_equal(made["pred_scale"], condition.signals["scale"].numpy())
    np.testing.assert_array_equal(made["mid_concat"][..., : condition.fixed.shape[-1]], condition.fixed.numpy())


def test_schedules_and_cepstra():
    keys = ["timesteps_10", "alpha_bar_10", "alpha_bar_prev_10"]
    made = parity.schedules(keys)
    assert set(made) == set(keys) and made["timesteps_10"].tolist() == samplers.ddim_schedule(10).times.tolist()
    made = parity.cepstra(["tone_wave", "len401_frames"], np.ones(800, np.float32), np.zeros(16_000, np.float32))
    assert made["len401_frames"] == 2 and made["speech_video_frames"] == 24
    assert made["tone_feats"].shape == (4, 39) and made["speech_feats"].shape == (99, 39)
