"""End to end in Chromium: the live page with a fake microphone that says syllables; everything is timed in the page."""

from __future__ import annotations

import shutil
import wave
from pathlib import Path

import numpy as np

from anitalker.config import InputError
from scripts.benchmarks.syllables import Answers, onsets, syllables

LOOP_SECONDS = 20  # Chromium plays the file again and again
RATE = 48_000
PATIENCE = 60_000  # milliseconds
# Levels of the microphone and of the voice by AnalyserNodes every 5 ms; brightness of the mouth's place on every frame.
WATCH = """() => {
  const log = window.measured = {mic: [], heard: [], seen: []};
  const audio = new AudioContext();
  const listen = (stream, track) => {
    const node = audio.createAnalyser(), data = new Float32Array(256);
    node.fftSize = 256;
    audio.createMediaStreamSource(stream).connect(node);
    setInterval(() => {
      node.getFloatTimeDomainData(data);
      track.push([performance.now() / 1000, Math.sqrt(data.reduce((sum, x) => sum + x * x, 0) / data.length)]);
    }, 5);
  };
  const video = document.getElementById("face");
  listen(session.stream, log.mic);
  listen(video.srcObject, log.heard);
  const canvas = new OffscreenCanvas(64, 64), pen = canvas.getContext("2d", {willReadFrequently: true});
  const look = (now) => {
    pen.drawImage(video, 0, 0, 64, 64);
    const pixels = pen.getImageData(16, 32, 32, 24).data;
    log.seen.push([now / 1000, Array.from(pixels.filter((_, i) => i % 4 == 1))]);  // green
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
}"""


def measure(url: str, portrait: Path, seconds: float, folder: Path) -> Answers:
    """Let Chromium talk to the face for so many seconds. InputError without Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise InputError("there is no chromium; install it (Debian: apt-get install chromium), or take --parts rtp")
    from playwright.sync_api import sync_playwright

    microphone = _write(folder / "syllables.wav")
    flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--use-fake-ui-for-media-stream"]
    flags += ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page(bypass_csp=True)
        page.set_default_timeout(PATIENCE)
        page.goto(url)
        page.locator("#portrait").set_input_files(str(portrait))
        page.locator("#state", has_text="ready").wait_for()
        page.locator("#start").click()
        page.wait_for_function("document.querySelector('#face').videoWidth > 0")
        page.evaluate(WATCH)
        page.wait_for_timeout(1000 * seconds)
        log = page.evaluate("window.measured")
        figures = {name: page.locator(f"#{name}").inner_text() for name in ("fps", "delay", "dropped")}
        page.locator("#stop").click()
        browser.close()
    heard = [(at, level) for at, level in log["heard"]]
    seen = [(at, np.array(mouth, np.float32)) for at, mouth in log["seen"]]
    return Answers(onsets(log["mic"]), heard, seen, figures)


def _write(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((syllables(LOOP_SECONDS, RATE) * 32767).astype("<i2").tobytes())
    return path
