"""The original's motion generator: conformers over speech, control signals, noisy motion and time -> the noise.

Letters: B clips, T video frames (25 per second), S speech features, W width of speech, D width of a conformer, H heads,
d = D / H, R = 2T - 1 distances in time, C queries at once, M motion numbers.

Conformer: Gulati et al. 2020, with the original's two changes: norms come after the residual sums, and a fifth follows.
Relative positions: Dai et al., "Transformer-XL", 2019, section 3.3. Modules are named as in the published
weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.network_config import DenoiserConfig

EPSILON = 1e-12  # of every layer norm
QUERY_ROWS = 256  # frames whose attention is computed at once: memory grows with T, not with its square
SIGNALS = {"location": ("location", 1), "scale": ("face_scale", 1), "pose": ("pose", 3)}  # name in the weights, width


class RelativeAttention(nn.Module):
    """Self-attention over a whole clip: score(i,j) = [(q_i + u) k_j + (q_i + v) p_(i-j)] / sqrt(d)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.pos_bias_u = nn.Parameter(torch.zeros(heads, width // heads))
        self.pos_bias_v = nn.Parameter(torch.zeros(heads, width // heads))
        self.linear_q, self.linear_k = nn.Linear(width, width), nn.Linear(width, width)
        self.linear_v, self.linear_out = nn.Linear(width, width), nn.Linear(width, width)
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.softmax = nn.Softmax(dim=-1)

    def table(self, waves: Tensor) -> Tensor:
        """Sinusoids [R,D] of distances T-1 ... 1-T -> p [1,H,R,d], the same for every clip of T frames."""
        return self.linear_pos(waves).unflatten(-1, (self.heads, -1)).transpose(0, 1).contiguous()[None]

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        """x [B,T,D], table from `table` -> [B,T,D]."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B,H,T,d]
            for layer in (self.linear_q, self.linear_k, self.linear_v)
        )
        rows = range(0, x.shape[1], QUERY_ROWS)
        values = [self._weights(q[:, :, row : row + QUERY_ROWS], k, table, row) @ v for row in rows]
        return self.linear_out(torch.cat(values, 2).transpose(1, 2).flatten(2))

    def _weights(self, q: Tensor, k: Tensor, table: Tensor, row: int) -> Tensor:
        """Attention weights [B,H,C,T] of queries [B,H,C,d], frames row, row + 1, ...; keys [B,H,T,d]."""
        count, frames = q.shape[2], k.shape[2]
        scale = q.shape[3] ** -0.5
        content = ((q + self.pos_bias_u[:, None]) * scale) @ k.mT
        # Column c of the product belongs to distance row + C - 1 - c, so key j of query i is at c = C - 1 - i + j. Each
        # row starts one column before the row above, which strides express without a copy.
        distances = table[:, :, frames - row - count : 2 * frames - 1 - row].expand(len(q), -1, -1, -1)
        product = ((q + self.pos_bias_v[:, None]) * scale) @ distances.mT  # [B,H,C,T+C-1]
        *outer, line, step = product.stride()
        shifted = product.as_strided(content.shape, (*outer, line - step, step), product.storage_offset() + count - 1)
        return self.softmax(content + shifted)


class FeedForward(nn.Module):
    """Linear, swish, linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w_1, self.w_2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B,T,D] -> [B,T,D]."""
        return self.w_2(F.silu(self.w_1(x)))


class Convolution(nn.Module):
    """Gated linear unit, depthwise convolution over time, batch norm, swish, linear."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.pointwise_conv1 = nn.Conv1d(width, 2 * width, 1)
        self.depthwise_conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.BatchNorm1d(width)
        self.pointwise_conv2 = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B,T,D] -> [B,T,D]."""
        first, last = self.pointwise_conv1, self.pointwise_conv2  # kernels of one frame: plain products
        x = F.glu(F.linear(x, first.weight[..., 0], first.bias)).transpose(1, 2)  # [B,D,T]
        x = F.silu(self.norm(self.depthwise_conv(x))).transpose(1, 2)
        return F.linear(x, last.weight[..., 0], last.bias)


class ConformerLayer(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward; a norm after each sum, and one at the end."""

    def __init__(self, width: int, hidden: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.self_attn = RelativeAttention(width, heads)
        self.feed_forward, self.feed_forward_macaron = FeedForward(width, hidden), FeedForward(width, hidden)
        self.conv_module = Convolution(width, kernel)
        self.norm_ff = nn.LayerNorm(width, eps=EPSILON)
        self.norm_mha = nn.LayerNorm(width, eps=EPSILON)
        self.norm_ff_macaron = nn.LayerNorm(width, eps=EPSILON)
        self.norm_conv = nn.LayerNorm(width, eps=EPSILON)
        self.norm_final = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        """x [B,T,D], table of `RelativeAttention.table` -> [B,T,D]."""
        x = self.norm_ff_macaron(x + 0.5 * self.feed_forward_macaron(x))
        x = self.norm_mha(x + self.self_attn(x, table))
        x = self.norm_conv(x + self.conv_module(x))
        x = self.norm_ff(x + 0.5 * self.feed_forward(x))
        return self.norm_final(x)


class Conformer(nn.Module):
    """A stack of conformer layers over a whole clip of any length."""

    def __init__(self, width: int, hidden: int, layers: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.width = width
        self.encoders = nn.ModuleList(ConformerLayer(width, hidden, heads, kernel) for _ in range(layers))

    def tables(self, frames: int) -> list[Tensor]:
        """Relative positions of a clip of T frames, per layer [1,H,R,d]; computed once per clip, for all steps."""
        attentions = [cast(ConformerLayer, layer).self_attn for layer in self.encoders]
        weight = attentions[0].linear_pos.weight
        waves = sinusoids(frames, self.width).to(weight.device, weight.dtype)
        return [attention.table(waves) for attention in attentions]

    def forward(self, x: Tensor, tables: list[Tensor]) -> Tensor:
        """[B,T,D] and `tables(T)` -> [B,T,D]."""
        x = x * self.width**0.5
        for layer, table in zip(self.encoders, tables, strict=True):
            x = layer(x, table)
        return x


def sinusoids(frames: int, width: int) -> Tensor:
    """Sinusoids [2 frames - 1,width] of distances r = frames-1 ... 1-frames: sin(r w_m), cos(r w_m).

    The rates are w_m = 10000^(-2m/width).
    """
    distances = torch.arange(frames - 1, -frames, -1, dtype=torch.float64)
    rates = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = distances[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1).float()


class Recurrence(nn.Module):
    """A two-layer unidirectional LSTM over the clip, and a linear layer."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, num_layers=2, batch_first=True)
        self.fc = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B,T,inputs] -> [B,T,outputs]."""
        return self.fc(self.lstm(x)[0])


@dataclass(frozen=True)
class Condition:
    """What the noise is estimated from beside the noisy motion and the time; computed once per clip."""

    fixed: Tensor  # [B,T,W+2*side]: speech with its control signals, the portrait's motion, its appearance
    tables: list[Tensor]  # relative positions, per layer of the decoder
    signals: dict[str, Tensor]  # the control signals that were used, passed or predicted: [B,T,1 or 3]


class Denoiser(nn.Module):
    """The network: call `condition` once per clip, then the network itself for each sampler step."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config, width, side = config, config.width, config.side
        if config.hears == "hubert":
            self.weights = nn.Parameter(torch.zeros(config.hubert_layers))
            self.down_sample1 = nn.Conv1d(config.hubert, width, 3, stride=2, padding=1)
            self.speech_encoder = Conformer(
                width, config.speech_hidden, config.speech_layers, config.heads, config.kernel
            )
        else:
            self.down_sample1 = nn.Conv1d(config.mfcc, config.mfcc_hidden, 3, stride=2, padding=1)
            self.down_sample2 = nn.Conv1d(config.mfcc_hidden, width, 3, stride=2, padding=1)
        for name, size in (SIGNALS[signal] for signal in config.signals):
            self.add_module(f"{name}_predictor", Recurrence(width, config.control, size))
            self.add_module(f"{name}_encoder", Recurrence(size, config.control, width))
        self.encoder_direction_code = nn.Linear(config.motion, side)
        # The original wraps these three in sequences of a single layer, which shows in its names.
        self.init_code_proj = nn.Sequential(nn.Linear(config.start, side))
        self.noisy_encoder = nn.Sequential(nn.Linear(config.motion, side))
        self.t_encoder = nn.Sequential(nn.Linear(1, side))
        self.coarse_decoder = Conformer(
            width + 4 * side, config.decoder_hidden, config.decoder_layers, config.heads, config.kernel
        )
        self.out_proj = nn.Linear(width + 4 * side, config.motion)

    def layer_weights(self) -> Tensor:
        """Weights of HuBERT's hidden states: [hubert_layers], sum 1."""
        return self.weights.softmax(0)

    def condition(
        self,
        sound: Tensor,
        start: Tensor,
        motion: Tensor,
        controls: dict[str, Tensor] | None = None,
        use_controls: bool = True,
    ) -> Condition:
        """Everything that depends on neither the step nor the noise.

        sound: [B,2T,1024] weighted HuBERT states, or [B,25,2T,1024] all of them, at 50 Hz; or [B,4T,39] MFCC at 100 Hz.
        Features beyond the last whole video frame are not used. start [B,512]: the portrait's appearance code; motion
        [B,20]: its motion code. controls: signals by name, [B,T,1] location and scale in 0..1 (nose across the picture,
        height of the face), [B,T,3] pose in -1..1 (yaw, pitch, roll / 90 degrees). Signals that are missing or NaN are
        predicted from the speech; without use_controls, all are. Signals that the variant does not know are ignored.
        """
        x, signals = self.add_controls(self.encode_speech(sound), controls if use_controls and controls else {})
        size = max(len(x), len(start))
        features = x, self.encoder_direction_code(motion)[:, None], self.init_code_proj(start)[:, None]
        fixed = torch.cat([feature.expand(size, x.shape[1], -1) for feature in features], -1)
        return Condition(fixed, self.coarse_decoder.tables(x.shape[1]), signals)

    def encode_speech(self, sound: Tensor) -> Tensor:
        """Speech features, as for `condition` -> [B,T,W]. ValueError if they fill no video frame."""
        rate = self.config.sound_rate
        frames = sound.shape[-2] // rate
        if not frames:
            raise ValueError(f"sound has {sound.shape[-2]} features; a video frame needs {rate}")
        sound = sound[..., : frames * rate, :]
        if sound.ndim == 4:
            sound = torch.einsum("l,blns->bns", self.layer_weights(), sound)
        x = self.down_sample1(sound.transpose(1, 2))
        if self.config.hears == "mfcc":
            return self.down_sample2(x).transpose(1, 2)
        return self.speech_encoder(x.transpose(1, 2), self.speech_encoder.tables(frames))

    def add_controls(self, x: Tensor, controls: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Speech [B,T,W] -> speech with the control signals added one after the other, and the signals used."""
        used = {}
        for signal in self.config.signals:
            name = SIGNALS[signal][0]
            value = controls.get(signal)
            if value is None or value.isnan().any():
                predicted = self.get_submodule(f"{name}_predictor")(x)
                value = predicted if value is None else torch.where(value.isnan(), predicted, value)
            used[signal] = value
            x = x + self.get_submodule(f"{name}_encoder")(value)
        return x, used

    def forward(self, condition: Condition, noisy: Tensor, time: Tensor) -> Tensor:
        """Estimate the noise [B,T,M] in `noisy` [B,T,M] at the original's `time` [B], 0 (clean) .. 999.

        Under autocast only the decoder runs in bfloat16. Its inputs and output stay float32, because bfloat16 cannot
        tell a time of 979 from 980.
        """
        with torch.autocast(noisy.device.type, enabled=False):
            time_features = self.t_encoder(time.to(noisy).reshape(-1, 1, 1)).expand(*noisy.shape[:2], -1)
            fixed = condition.fixed.expand(len(noisy), -1, -1)
            x = torch.cat([fixed, self.noisy_encoder(noisy), time_features], -1)
        x = self.coarse_decoder(x, condition.tables)
        with torch.autocast(noisy.device.type, enabled=False):
            return self.out_proj(x.float())
