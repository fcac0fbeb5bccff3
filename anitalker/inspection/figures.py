"""The report's figures, by matplotlib without a screen. Pictures are float [h,w,3] in 0..1 or uint8 [h,w,3]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anitalker.inspection.attribution import import_extra
from anitalker.inspection.effects import Effect

COLOURS = {"pose": "#3b6fb6", "lips": "#c8443c", "eyes": "#3d8f5a", "none": "#999999"}
COLOUR_MAP = "magma"


def picture_grid(rows: int, columns: int, size: float = 1.4, cell_width: float | None = None, tight: bool = True):
    """A figure with rows x columns axes without ticks, each `size` inches high and `cell_width` (None: size) wide.

    tight: for pictures with a small heading each; else the layout leaves room for labels and colour bars, which is slow
    for many axes. Returns the figure and its axes [rows,columns].
    """
    cell_width, heading, left = cell_width or size, 0.22, 0.3
    width, height = cell_width * columns + left, (size + heading) * rows
    figure = import_extra("matplotlib.figure").Figure(figsize=(width, height), layout=None if tight else "constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    if tight:
        figure.subplots_adjust(
            left / width, 0.01, 1 - 0.03 / width, 1 - heading / height, 0.04, (heading + 0.03) / size
        )
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        for side in axis.spines.values():
            side.set_visible(False)
    return figure, axes


def chart(width: float, height: float, columns: int = 1):
    """A figure with axes [columns] side by side, without top and right borders."""
    figure = import_extra("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def set_title(axis, text: str, colour: str = "black") -> None:
    """Set a small heading over one picture."""
    axis.set_title(text, fontsize=8, color=colour, pad=2)


def stage_bars(names: Sequence[str], values: np.ndarray, label: str):
    """One bar per stage, with its value above."""
    figure, (axis,) = chart(7, 2.8)
    bars = axis.bar(names, values, color="#3b6fb6")
    axis.bar_label(bars, [f"{value:.2f}" for value in values], fontsize=9)
    axis.set_ylabel(label)
    axis.margins(y=0.15)
    return figure


def contribution_matrix(
    stages: Sequence[str], names: Sequence[str], contributions: np.ndarray, heading: str, label: str
):
    """Contributions [S,M] of stages (rows) to motion numbers (columns), with values; red above zero, blue below."""
    figure, (axis,) = chart(11, 0.42 * len(stages) + 1.4)
    limit = max(float(np.abs(contributions).max()), 1e-6)
    image = axis.imshow(contributions, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axis.set_xticks(range(len(names)), names, fontsize=8)
    axis.set_yticks(range(len(stages)), stages, fontsize=8)
    for (row, column), value in np.ndenumerate(contributions):
        is_dark = abs(value) > 0.6 * limit
        axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6.5, color="w" if is_dark else "k")
    axis.set_title(heading, fontsize=10)
    figure.colorbar(image, ax=axis, shrink=0.8, pad=0.01).set_label(label, fontsize=8)
    return figure


def grouped_bars(stages: Sequence[str], series: dict[str, np.ndarray], label: str):
    """Bars of several series [S], side by side at each stage."""
    figure, (axis,) = chart(8.5, 3.2)
    width = 0.8 / len(series)
    colours = [*COLOURS.values(), "#8a5fb0", "#b58b2b"]
    for index, (name, values) in enumerate(series.items()):
        positions = np.arange(len(stages)) + (index - (len(series) - 1) / 2) * width
        axis.bar(positions, values, width, label=name, color=COLOURS.get(name, colours[index]))
    axis.axhline(0, color="k", lw=0.6)
    axis.set_xticks(range(len(stages)), stages)
    axis.set_ylabel(label)
    axis.legend(fontsize=8, frameon=False, ncols=len(series))
    axis.margins(y=0.2)
    return figure


def activations(picture: np.ndarray, maps: list[np.ndarray], stages: Sequence[str], columns: int = 6):
    """One row per stage: the strength of all channels together, then the channels that vary most over the picture."""
    figure, axes = picture_grid(len(maps), columns + 1)
    for row, (stage, name) in enumerate(zip(maps, stages, strict=True)):
        strength = np.sqrt((stage**2).mean(0))
        axes[row, 0].imshow(picture)
        axes[row, 0].imshow(strength, cmap=COLOUR_MAP, alpha=0.6, extent=(0, picture.shape[1], picture.shape[0], 0))
        set_title(axes[row, 0], f"stage {name}: strength")
        order = stage.std((1, 2)).argsort()[::-1][:columns]
        for column, channel in enumerate(order, 1):
            axes[row, column].imshow(stage[channel], cmap="gray", interpolation="nearest")
            set_title(axes[row, column], f"channel {channel}")
        for axis in axes[row, len(order) + 1 :]:
            axis.set_visible(False)
    return figure


def overlay(axis, picture: np.ndarray, heat: np.ndarray) -> None:
    """Draw a saliency map over the picture in grey; the brightest half percent is clipped."""
    top = max(float(np.quantile(heat, 0.995)), 1e-12)
    axis.imshow(picture.mean(-1), cmap="gray", vmin=0, vmax=1)
    axis.imshow(heat / top, cmap=COLOUR_MAP, vmin=0, vmax=1, alpha=np.clip(heat / top, 0, 1) * 0.5 + 0.35)


def saliency(picture: np.ndarray, rows: dict[str, dict[str, np.ndarray]]):
    """One row per name: the picture, then its map [h,w] by each method. rows: name -> {method: map}."""
    methods = list(next(iter(rows.values())))
    figure, axes = picture_grid(len(rows), len(methods) + 1, 1.9)
    for row, (name, maps) in enumerate(rows.items()):
        axes[row, 0].imshow(picture)
        set_title(axes[row, 0], name, COLOURS.get(name, "black"))
        for axis, method in zip(axes[row, 1:], methods, strict=True):
            overlay(axis, picture, maps[method])
            set_title(axis, method)
    return figure


def saliency_grid(picture: np.ndarray, maps: np.ndarray, names: Sequence[str], groups: Sequence[str]):
    """A small map for every motion number, maps [M,h,w]."""
    columns = 10
    figure, axes = picture_grid(-(-len(maps) // columns), columns, 1.15)
    for axis in axes.flat[len(maps) :]:
        axis.set_visible(False)
    for axis, heat, name, group in zip(axes.flat, maps, names, groups, strict=False):
        overlay(axis, picture, heat)
        set_title(axis, f"{name} ({group})", COLOURS[group])
    return figure


def gallery(
    rows: list[tuple[str, list[np.ndarray], list[str]]], size: float = 1.5, colours: Sequence[str] | None = None
):
    """Rows of pictures with captions. rows: (name of the row, pictures, captions)."""
    width = max(len(pictures) for _, pictures, _ in rows)
    figure, axes = picture_grid(len(rows), width, size)
    for row, (name, pictures, captions) in enumerate(rows):
        axes[row, 0].set_ylabel(name, fontsize=8, color=colours[row] if colours else "black")
        for column in range(width):
            axis = axes[row, column]
            if column < len(pictures):
                axis.imshow(pictures[column])
                set_title(axis, captions[column])
            else:
                axis.set_visible(False)
    return figure


def movement(base: np.ndarray, effects: Sequence[Effect], names: Sequence[str]):
    """Arrows that show where each number moves the points of the face, base [N,2]."""
    columns = 7
    figure, axes = picture_grid(-(-len(effects) // columns), columns, 1.6)
    for axis in axes.flat[len(effects) :]:
        axis.set_visible(False)
    for axis, effect, name in zip(axes.flat, effects, names, strict=False):
        distance = np.linalg.norm(effect.moved, axis=1) * 100
        axis.scatter(*base.T, c=distance, s=2.5, cmap="viridis", vmin=0, vmax=3)
        large = distance > 0.3
        axis.quiver(
            *base[large].T,
            *effect.moved[large].T,
            color=COLOURS[effect.group],
            angles="xy",
            scale_units="xy",
            scale=0.5,
            width=0.006,
        )
        axis.set_aspect("equal")
        axis.invert_yaxis()
        set_title(axis, f"{name}: {effect.group}", COLOURS[effect.group])
    return figure


def scatter_maps(maps: dict[str, tuple[np.ndarray, str]], colours: dict[str, np.ndarray]):
    """One row per map (PCA, t-SNE), one column per label that colours its points."""
    figure, axes = picture_grid(len(maps), len(colours), 3.2, 4.0, tight=False)
    for row, (name, (points, note)) in enumerate(maps.items()):
        for axis, (label, values) in zip(axes[row], colours.items(), strict=True):
            axis.plot(*points.T, color="#cccccc", lw=0.5, zorder=0)
            scatter = axis.scatter(*points.T, c=values, s=14, cmap="coolwarm" if "°" in label else "viridis")
            figure.colorbar(scatter, ax=axis, shrink=0.8).set_label(label, fontsize=8)
            axis.set_title(f"{name} ({note})", fontsize=8)
    return figure


def attention(maps: list[np.ndarray], profiles: list[np.ndarray], loudness: np.ndarray, max_distance: int, fps: int):
    """Maps [L,L] of every layer over seconds of speech; below, profiles by distance [h,2 max_distance + 1]."""
    figure, axes = picture_grid(2, len(maps), 2.6, 2.9, tight=False)
    length = len(maps[0])
    lags = np.linspace(-max_distance / fps, max_distance / fps, profiles[0].shape[-1])
    for layer, (weights, profile) in enumerate(zip(maps, profiles, strict=True)):
        top, below = axes[0, layer], axes[1, layer]
        seconds = length / fps
        top.imshow(weights**0.5, cmap=COLOUR_MAP, extent=(0, seconds, seconds, 0))
        level = loudness[:length] / max(float(loudness.max()), 1e-9)
        top.plot((np.arange(len(level)) + 0.5) / fps, seconds - 0.3 * seconds * level, color="#7fd4ff", lw=0.8)
        top.set_title(f"layer {layer + 1}", fontsize=9)
        top.set_xlabel("attends to, s", fontsize=8)
        top.set_xticks(range(int(seconds) + 1))
        below.plot(lags, profile.T, lw=1)
        below.axvline(0, color="k", lw=0.5)
        below.set_xticks([-max_distance / fps, 0, max_distance / fps])
        below.set_xlabel("distance in time, s", fontsize=8)
    axes[0, 0].set_ylabel("frame, s", fontsize=8)
    axes[1, 0].set_ylabel("mean attention, one line per head", fontsize=8)
    return figure
