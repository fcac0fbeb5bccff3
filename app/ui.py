"""The page: widgets -> RenderOptions -> Talker -> video. Defaults come from RenderOptions alone."""

from __future__ import annotations

import tempfile
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from anitalker.config import InputError, RenderOptions

if TYPE_CHECKING:
    from anitalker.pipeline import Talker

EXAMPLES = Path(__file__).parent / "examples"
NOTE = (
    "One portrait and a recording in, a video out. Use pictures and voices of people who agreed to it. "
    "The video says in its metadata that it is synthetic."
)


def build_ui(talker: Talker) -> gr.Blocks:
    """The page over one loaded model; jobs wait for each other."""
    default = RenderOptions()
    workplace = tempfile.TemporaryDirectory(prefix="anitalker-")  # gone when the page ends; Gradio serves a copy

    def speak(portrait, speech, seed, steps, still, frame, face, turn, yaw, pitch, roll, progress=gr.Progress()):  # noqa: B008
        if not portrait or not speech:
            raise gr.Error("Give a portrait and a recording.", print_exception=False)
        try:
            options = replace(default, seed=int(seed), steps=int(steps), still=still, frame=frame, face=face)
            if turn:
                options = replace(options, yaw=yaw, pitch=pitch, roll=roll)

            def tell(stage: str, done: int, total: int) -> None:
                progress((done, total), desc=stage)

            made = talker.render(
                portrait, speech, Path(workplace.name) / f"{uuid.uuid4().hex}.mp4", options, progress=tell
            )
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from None
        report = (
            f"{made['frames']} frames, {made['width']}x{made['height']}, {sum(made['timings'].values()):.1f} s of work"
        )
        return made["output"], report

    with gr.Blocks(title="AniTalker", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown(f"# AniTalker\n{NOTE}")
        with gr.Row():
            with gr.Column():
                portrait = gr.Image(type="filepath", label="Portrait", sources=["upload", "webcam", "clipboard"])
                speech = gr.Audio(type="filepath", label="Speech", sources=["upload", "microphone"])
                with gr.Accordion("Options", open=False):
                    seed = gr.Number(default.seed, label="Seed", precision=0, minimum=0)
                    steps = gr.Slider(1, 50, default.steps or talker.model.steps, step=1, label="Sampler steps")
                    still = gr.Checkbox(default.still, label="Keep the head still")
                    frame = gr.Radio(["full", "crop"], value=default.frame, label="Picture")
                    face = gr.Radio(["largest", "all"], value=default.face, label="Who speaks")
                    turn = gr.Checkbox(False, label="Choose the head's direction (degrees)")
                    yaw, pitch, roll = (gr.Slider(-30, 30, 0, label=name) for name in ("Yaw", "Pitch", "Roll"))
                button = gr.Button("Speak", variant="primary")
            with gr.Column():
                video = gr.Video(label="Video", autoplay=True)
                report = gr.Markdown()
        inputs = [portrait, speech, seed, steps, still, frame, face, turn, yaw, pitch, roll]
        button.click(speak, inputs, [video, report], api_name="speak")
        gr.Examples([[str(EXAMPLES / "portrait.webp"), str(EXAMPLES / "speech.flac")]], [portrait, speech])
    return page
