"""The original's networks against recorded numbers: every recorded key, made by ours.

Motion: `eps_t500_flag1` noise estimated at time 500 with the control signals given, `sample50_flag0` a sample of 50
steps, `traj10_x` and `traj10_x0` after each of 10 steps, `T7_...` the same for 7 frames, `mid_...` and `pred_...`
values inside the network, `timesteps_10` and `alpha_bar_10` schedules, `len400_frames` how many MFCC frames 400
samples give. Pictures: `hal_in_3` what HAL weighs of stage 3, `skip64_mean` a map for the decoder per channel,
`skip64_sample` some of its places, `render_1` and `frame_1_u8` a picture under motion 1 before and after it becomes
bytes, `flow32_1` its raw flow at 32 pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from anitalker.motion import samplers
from anitalker.original.denoiser import Condition, Denoiser
from anitalker.original.stage_one import StageOne
from encoders import mfcc
from scripts.evaluation import synthetic_weights

Arrays = dict[str, np.ndarray]
FRAMES = 30  # of the recorded clips, where the key does not say otherwise
INSIDE_AT = 980  # time at which the values inside the network were recorded
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
PLACES = 8  # along each side of a recorded skip
FLOWS = {128: 4, 256: 8}  # resolution -> step of the recorded places; others are recorded whole


@torch.no_grad()
def motion(denoiser: Denoiser, keys: Iterable[str], inputs=synthetic_weights) -> Arrays:
    """The recorded values of those keys; keys that are inputs, or unknown, are left out.

    denoiser: loaded, in eval mode; inputs: where `hubert_feats`, `mfcc_feats`, `controls`, `noise`, `start_code` and
    `start_motion` are.
    """

    @cache
    def condition(frames: int, given: bool) -> tuple[Condition, Tensor]:
        features = inputs.hubert_feats if denoiser.config.hears == "hubert" else inputs.mfcc_feats
        start = [torch.from_numpy(x) for x in (features(frames), inputs.start_code(), inputs.start_motion())]
        controls = dict(zip(("location", "scale", "pose"), map(torch.from_numpy, inputs.controls(frames)), strict=True))
        return denoiser.condition(*start, controls, given), torch.from_numpy(inputs.noise(frames))

    def estimate(time: int, frames: int = FRAMES, given: bool = False) -> Tensor:
        state, noise = condition(frames, given)
        return denoiser(state, noise, torch.tensor([time]))

    def sample(steps: int, frames: int = FRAMES, given: bool = False, callback=None) -> Tensor:
        state, noise = condition(frames, given)
        return samplers.ddim_sample(lambda x, t: denoiser(state, x, t), noise, steps, callback)

    # The values inside come first: they are seen while the condition is computed.
    values = inside(denoiser, lambda: estimate(INSIDE_AT)) if any(k.startswith(("mid_", "pred_")) for k in keys) else {}
    for key in keys:
        if match := re.fullmatch(r"(?:T(\d+)_)?(eps_t|sample)(\d+)(?:_flag([01]))?", key):
            frames, kind, number, flag = match.groups()
            values[key] = (estimate if kind == "eps_t" else sample)(int(number), int(frames or FRAMES), flag == "1")
        elif match := re.fullmatch(r"traj(\d+)_x", key):
            steps: list[tuple[Tensor, Tensor]] = []
            sample(int(match[1]), callback=lambda step, x, clean, steps=steps: steps.append((x, clean)))
            values[key], values[f"{key}0"] = map(torch.stack, zip(*steps, strict=True))
    return {key: values[key].numpy() for key in keys if key in values}


def inside(denoiser: Denoiser, run) -> dict[str, Tensor]:
    """Values inside the network while `run()` calls it."""
    values, modules = {}, dict(denoiser.named_modules())

    def keep(key: str):
        return lambda module, inputs, output: values.update({key: output})

    hooks = [modules[name].register_forward_hook(keep(key)) for key, name in INSIDE.items() if name in modules]
    hooks.append(modules["coarse_decoder"].register_forward_pre_hook(lambda m, x: values.update(mid_concat=x[0])))
    down = modules.get("down_sample2", modules["down_sample1"])
    hooks.append(down.register_forward_hook(keep("mid_audio_down")))
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return values | {"mid_audio_down": values["mid_audio_down"].transpose(1, 2)}


def schedules(keys: Iterable[str]) -> Arrays:
    """Keys of schedules -> their values."""
    values = {}
    for steps in {int(key.rsplit("_", 1)[1]) for key in keys}:
        schedule = samplers.ddim_schedule(steps)
        values[f"timesteps_{steps}"] = schedule.times.numpy()
        values[f"alpha_bar_{steps}"] = schedule.alpha_bar.numpy()
        values[f"alpha_bar_prev_{steps}"] = schedule.alpha_bar_before.numpy()
    return values


def cepstra(keys: Iterable[str], tone: np.ndarray, speech: np.ndarray) -> Arrays:
    """The MFCC file: its tone and a recording, float32 [N] in -1..1, and the counts that the keys ask for."""
    features = mfcc.features(torch.from_numpy(speech)).numpy()
    values = {"tone_wave": tone, "tone_feats": mfcc.features(torch.from_numpy(tone)).numpy()}
    values |= {"speech_feats": features, "speech_video_frames": np.array(len(features) // 4)}
    counts = {key: int(key[3:-7]) for key in keys if re.fullmatch(r"len\d+_frames", key)}
    return values | {key: np.array(len(mfcc.features(torch.zeros(samples)))) for key, samples in counts.items()}


@torch.inference_mode()
def pictures(stage_one: StageOne, portrait: np.ndarray, motion: np.ndarray) -> dict[str, np.ndarray]:
    """portrait uint8 [256,256,3], motion float32 [K,20] as recorded -> every key that follows from them."""
    image = torch.from_numpy(portrait).permute(2, 0, 1)[None] / 255  # [1,3,256,256]
    look = stage_one.enc((image - 0.5) * 2)
    values = {f"hal_in_{index}": stage for index, stage in enumerate(look.stages.unbind(1))}
    values |= {"hal_softmax": look.weights, "image_code": look.image_code, "motion_code": look.motion_code}
    values |= {"motion_feature": look.motion_feature, "identity_feature": look.identity}
    for skip in look.skips:
        name, step = f"skip{skip.shape[-1]}", skip.shape[-1] // PLACES
        places = slice(step // 2 if step > 1 else 0, None, step)
        values[f"{name}_mean"], values[f"{name}_std"] = skip[0].mean((1, 2)), skip[0].std((1, 2), correction=0)
        values[f"{name}_sample"] = skip[0, ::8, places, places]
    constants = stage_one.dec.constants()
    ready = stage_one.dec.prepare(constants, look.image_code, look.skips)
    values["direction_q"] = constants.directions
    for index, row in enumerate(torch.from_numpy(motion)[:, None]):  # one at a time as they were recorded
        drawn = stage_one.dec.draw(constants, ready, row)
        frame = (drawn.pictures[0].clamp(-1, 1) + 1) / 2 * 255  # cut and not rounded, as the original does
        values[f"latent_{index}"] = look.image_code + row @ constants.directions.T
        values |= {f"render_{index}": drawn.pictures, f"frame_{index}_u8": frame.byte().permute(1, 2, 0)}
        for flow in drawn.flows if index == 1 else ():
            step = FLOWS.get(flow.shape[-1], 1)
            values[f"flow{flow.shape[-1]}_1{'_sample' if step > 1 else ''}"] = flow[..., ::step, ::step]
    return {"portrait_u8": portrait, "render_motion": motion} | {key: value.numpy() for key, value in values.items()}
