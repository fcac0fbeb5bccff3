"""The original's encoder and decoder against recorded numbers: every recorded key of stage one, made by ours.

Names of keys: `hal_in_3` what HAL weighs of stage 3, `skip64_mean` a map for the decoder per channel, `skip64_sample`
some of its places, `render_1` and `frame_1_u8` a picture under motion 1 before and after it becomes bytes, `flow32_1`
its raw flow at 32 pixels.
"""

from __future__ import annotations

import numpy as np
import torch

from anitalker.original.stage_one import StageOne

PLACES = 8  # along each side of a recorded skip
FLOWS = {128: 4, 256: 8}  # resolution -> step of the recorded places; others are recorded whole


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
