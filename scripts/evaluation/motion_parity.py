"""The original's motion generator and its speech features against recorded numbers: every recorded key, made by ours.

Names of keys: `eps_t500_flag1` noise estimated at time 500 with the control signals given, `sample50_flag0` a sample of
50 steps, `traj10_x` and `traj10_x0` after each of 10 steps, `T7_...` the same for 7 frames, `mid_...` and `pred_...`
values inside the network, `timesteps_10` and `alpha_bar_10` schedules, `len400_frames` how many MFCC frames 400 samples
give.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from anitalker.motion import samplers
from anitalker.original.denoiser import Condition, Denoiser
from encoders import mfcc

Arrays = dict[str, np.ndarray]
FRAMES = 30  # of the recorded clips, where the key does not say otherwise
INSIDE_AT = 980  # time at which the values inside the network were recorded
INPUTS = ("location", "scale", "pose", "noise", "start", "motion_start")
INSIDE = {  # key -> module whose output it is
    "mid_audio_layer0": "speech_encoder.encoders.0",
    "mid_audio_encoded": "speech_encoder",
    "mid_dec0_ff_macaron_ln": "coarse_decoder.encoders.0.norm_ff_macaron",
    "mid_dec0_attn_out": "coarse_decoder.encoders.0.self_attn",
    "mid_dec0_attn_probs": "coarse_decoder.encoders.0.self_attn.softmax",
    "mid_dec0_attn_ln": "coarse_decoder.encoders.0.norm_mha",
    "mid_dec0_conv_out": "coarse_decoder.encoders.0.conv_module",
    "mid_dec0_conv_ln": "coarse_decoder.encoders.0.norm_conv",
    "mid_dec_layer0": "coarse_decoder.encoders.0",
    "mid_dec_layer1": "coarse_decoder.encoders.1",
    "pred_location": "location_predictor",
    "pred_scale": "face_scale_predictor",
    "pred_pose": "pose_predictor",
}


class Recording:
    """What ours makes of recorded inputs.

    denoiser: loaded, in eval mode; inputs: frames T -> arrays `sound` ([1,25,2T,1024] or [1,4T,39]), `start` [1,512],
    `motion_start` [1,20], `noise` [1,T,20], `location`, `scale` [1,T,1] and `pose` [1,T,3].
    """

    def __init__(self, denoiser: Denoiser, inputs: Callable[[int], Arrays]) -> None:
        self.denoiser, self.inputs = denoiser, inputs
        self.ready: dict[tuple[int, bool], tuple[Condition, Tensor]] = {}

    def make(self, keys: Iterable[str]) -> Arrays:
        """The values of those keys; keys that are inputs, or unknown, are left out."""
        keys, made = list(keys), {}
        if any(key.startswith(("mid_", "pred_")) for key in keys):
            made |= self.inside()
        for key in keys:
            if match := re.fullmatch(r"(?:T(\d+)_)?(eps_t|sample)(\d+)(?:_flag([01]))?", key):
                frames, kind, number, flag = match.groups()
                make = self.estimate if kind == "eps_t" else self.sample
                made[key] = make(int(number), int(frames or FRAMES), flag == "1")
            elif match := re.fullmatch(r"traj(\d+)_x", key):
                made[key], made[f"{key}0"] = self.course(int(match[1]))
        return {key: made[key] for key in keys if key in made}

    def condition(self, frames: int, given: bool) -> tuple[Condition, Tensor]:
        """Condition and noise of the clip of that many frames."""
        if (frames, given) not in self.ready:
            tensors = {name: torch.from_numpy(array) for name, array in self.inputs(frames).items()}
            controls = {name: tensors[name] for name in ("location", "scale", "pose")}
            start = (tensors["sound"], tensors["start"], tensors["motion_start"])
            with torch.no_grad():
                condition = self.denoiser.condition(*start, controls, given)
            self.ready[frames, given] = condition, tensors["noise"]
        return self.ready[frames, given]

    @torch.no_grad()
    def estimate(self, time: int, frames: int = FRAMES, given: bool = False) -> np.ndarray:
        condition, noise = self.condition(frames, given)
        return self.denoiser(condition, noise, torch.tensor([time])).numpy()

    def sample(self, steps: int, frames: int = FRAMES, given: bool = False, callback: Callable | None = None):
        condition, noise = self.condition(frames, given)
        return samplers.ddim_sample(lambda x, t: self.denoiser(condition, x, t), noise, steps, callback).numpy()

    def course(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """x and the estimate of the clean value after every step: [steps,1,T,20] each."""
        seen = []
        self.sample(steps, callback=lambda step, x, clean: seen.append((x, clean)))
        return tuple(torch.stack(values).numpy() for values in zip(*seen, strict=True))

    def inside(self) -> Arrays:
        """The values inside the network at INSIDE_AT, without given signals."""
        seen, hooks = {}, []
        modules = dict(self.denoiser.named_modules())

        def keep(key: str) -> Callable:
            return lambda module, inputs, output: seen.update({key: output})

        for key, name in INSIDE.items():
            if name in modules:
                hooks.append(modules[name].register_forward_hook(keep(key)))
        down = modules.get("down_sample2", modules["down_sample1"])
        hooks.append(down.register_forward_hook(lambda m, i, out: seen.update(mid_audio_down=out.transpose(1, 2))))
        hooks.append(modules["coarse_decoder"].register_forward_pre_hook(lambda m, i: seen.update(mid_concat=i[0])))
        self.ready.pop((FRAMES, False), None)
        try:
            self.estimate(INSIDE_AT)
        finally:
            for hook in hooks:
                hook.remove()
        return {key: value.detach().numpy() for key, value in seen.items()}


def schedules(keys: Iterable[str]) -> Arrays:
    """Keys of schedules -> their values."""
    made = {}
    for steps in {int(key.rsplit("_", 1)[1]) for key in keys}:
        schedule = samplers.ddim_schedule(steps)
        made[f"timesteps_{steps}"] = schedule.times.numpy()
        made[f"alpha_bar_{steps}"] = schedule.alpha_bar.numpy()
        made[f"alpha_bar_prev_{steps}"] = schedule.alpha_bar_before.numpy()
    return made


def cepstra(golden: Arrays, speech: np.ndarray) -> Arrays:
    """The MFCC file: its tone, a recording as float32 [N] in -1..1, and the counts that it asks for."""
    features = mfcc.features(torch.from_numpy(speech)).numpy()
    made = {"tone_wave": golden["tone_wave"], "speech_feats": features}
    made["tone_feats"] = mfcc.features(torch.from_numpy(golden["tone_wave"])).numpy()
    made["speech_video_frames"] = np.array(len(features) // 4)
    counts = {key: int(key[3:-7]) for key in golden if re.fullmatch(r"len\d+_frames", key)}
    return made | {key: np.array(len(mfcc.features(torch.zeros(samples)))) for key, samples in counts.items()}


def errors(golden: Arrays, made: Arrays) -> dict[str, float]:
    """Relative L2 error of every recorded key, inputs left out; infinite where one is missing or has another shape."""
    wrong = {}
    for key in golden:
        if key in INPUTS or key.startswith("audio"):
            continue
        ours, theirs = made.get(key), np.asarray(golden[key], np.float64)
        if ours is None or ours.shape != theirs.shape:
            wrong[key] = float("inf")
        else:
            wrong[key] = float(np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-12))
    return wrong


def maker(folder: Path) -> ModuleType:
    """The script of the recordings that makes weights and inputs out of names, `make_weights.py` in their folder."""
    spec = importlib.util.spec_from_file_location("make_weights", folder / "make_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made_inputs(make: ModuleType, hears: str) -> Callable[[int], Arrays]:
    """`inputs` of `Recording` from that script; hears: hubert or mfcc."""

    def inputs(frames: int) -> Arrays:
        sound = make.hubert_feats(frames) if hears == "hubert" else make.mfcc_feats(frames)
        signals = dict(zip(("location", "scale", "pose"), make.controls(frames), strict=True))
        start = {"start": make.start_code(), "motion_start": make.start_motion()}
        return {"sound": sound, "noise": make.noise(frames), **start, **signals}

    return inputs
