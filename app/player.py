"""The player: shows the video while it is made, then the finished one from the same place on, beside its source.

HTML for the page, and the script that runs in the browser. The script reads fragments into a MediaSource, because no
browser plays a growing file as it is. All input is escaped.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from urllib.parse import quote

from anitalker.server.job_queue import Job

from .outputs import is_picture
from .sessions import Result

EMPTY = "<span class='nothing'></span>"
TEMPLATE = """<div class='player'>
<label><input type='checkbox' name='loop'> Loop</label>
<label><input type='checkbox' name='beside'> Source beside it</label>
${value}</div>"""

# A MediaSource wants to know the codecs: constrained baseline H.264 and AAC-LC, as `LiveVideo` writes them.
SCRIPT = """
const CODECS = 'video/mp4; codecs="avc1.42c01f, mp4a.40.2"';
const SECONDS_AHEAD = {first: 1, again: 2};  // that must be there before it starts, and after it ran out of frames
const stage = () => document.querySelector("#stage"), finished = () => document.querySelector("#video video");
const ticked = name => element.querySelector(`[name=${name}]`).checked;
let live = null;  // the video in the making
let newest = null;  // its address, or of one that is made after it, in a batch
let turn = null;  // what makes the finished video go on from there

function apply() {
  if (finished()) finished().loop = ticked("loop");
  stage().classList.toggle("beside", ticked("beside"));
}

function open(url) {
  const Source = window.ManagedMediaSource || window.MediaSource;
  if (!Source || !Source.isTypeSupported(CODECS)) return null;
  const video = document.createElement("video"), source = new Source(), stop = new AbortController();
  Object.assign(video, {id: "live", controls: true, playsInline: true, disableRemotePlayback: true});
  video.setAttribute("aria-label", "The video while it is made");
  const player = {url, video, starved: true, complete: false, needs: SECONDS_AHEAD.first};
  player.isWatched = () => video.currentTime > 0 && !video.ended;
  video.addEventListener("ended", show);
  const ahead = () => video.buffered.length ? video.buffered.end(video.buffered.length - 1) - video.currentTime : 0;
  const resume = () => {
    if (!player.starved || !(player.complete || ahead() > player.needs)) return;
    player.starved = false;
    video.play().catch(() => {});  // a page that was just opened may not play sound before a click
  };
  video.addEventListener("waiting", () => {
    if (player.complete || ahead() > player.needs) return;
    Object.assign(player, {starved: true, needs: SECONDS_AHEAD.again});
    video.pause();
  });
  player.close = () => {
    stop.abort();
    video.pause();
    video.remove();
    URL.revokeObjectURL(video.src);
    stage().classList.remove("live");
  };
  source.addEventListener("sourceopen", async () => {
    try {
      const answer = await fetch(url, {signal: stop.signal});
      if (!answer.ok) throw new Error(answer.status);
      const buffer = source.addSourceBuffer(CODECS), reader = answer.body.getReader();
      for (;;) {
        const {done, value} = await reader.read();
        if (done) break;
        const updated = new Promise(resolve => buffer.addEventListener("updateend", resolve, {once: true}));
        buffer.appendBuffer(value);
        await updated;
        stage().classList.add("live");
        resume();
      }
      player.complete = true;
      if (source.readyState === "open") source.endOfStream();
      resume();
    } catch (error) {
      if (live === player) live = null;
      player.close();
    }
  }, {once: true});
  video.src = URL.createObjectURL(source);
  stage().append(video);
  return player;
}

function takeOver(video) {  // the finished video takes the place of the one that was watched
  const watched = turn.video, player = turn;
  turn = null;
  if (watched.ended || !watched.currentTime) return player.close();
  const playing = player.starved || !watched.paused, {muted, volume} = watched;
  const seek = () => { video.currentTime = Math.min(watched.currentTime, video.duration - 0.04); };
  const settle = () => {
    if (Math.abs(video.currentTime - watched.currentTime) > 0.5) return seek();
    video.removeEventListener("seeked", settle);
    if (playing) video.play().catch(() => {});
    else {
      video.pause();
      seek();  // it has gone on a little
    }
    player.close();
    Object.assign(video, {muted, volume});
  };
  video.muted = true;
  video.addEventListener("seeked", settle);
  seek();
}

function show() {
  const state = element.querySelector("[data-state]")?.dataset ?? {};
  if (state.live) newest = state.live;
  const outdated = live && live.url !== newest;  // the next recording of a batch is in the making
  const between = state.live === "";  // or will be soon
  if ((outdated && (state.live || state.result) || between) && live?.isWatched()) return apply();
  if (state.live && state.live !== live?.url) {
    live?.close();
    live = open(state.live);
  } else if (!state.live && live) {
    if (state.result && !outdated) turn = live; else live.close();
    live = null;
    if (turn && finished()?.readyState >= 3) takeOver(finished());
  }
  apply();
}

document.addEventListener("loadedmetadata", event => {
  if (event.target !== finished()) return;
  event.target.muted = Boolean(turn);
  apply();
}, true);
document.addEventListener("canplay", event => {  // not before: Gradio has its own first word at loadeddata
  if (turn && event.target === finished()) takeOver(event.target);
}, true);
for (const name of ["play", "pause", "seeked"]) document.addEventListener(name, event => {
  const driver = document.querySelector("#source video");
  if (!driver || event.target.id !== "live" && event.target !== finished()) return;
  driver.currentTime = event.target.currentTime + Number(driver.dataset.start || 0);
  if (event.target.paused) driver.pause(); else driver.play().catch(() => {});
}, true);
element.addEventListener("change", apply);
element.addEventListener("click", event => {
  const take = event.target.closest("[data-take]"), again = event.target.closest("[data-again]");
  if (take) trigger("take", {number: Number(take.dataset.take)});
  if (again) trigger("again", {number: Number(again.dataset.again)});
});
watch("value", show);
show();
"""
ON_CARD_CLICK = """
element.addEventListener("click", event => {
  const take = event.target.closest("[data-take]"), again = event.target.closest("[data-again]");
  if (take) trigger("take", {number: Number(take.dataset.take)});
  if (again) trigger("again", {number: Number(again.dataset.again)});
})
"""


def in_the_making(job: Job) -> str:
    """The player's state while a job runs: the address of the live video, once it has frames."""
    live = job.live
    address = f"gradio_api/live/{live.token}" if live and live.written and live.token else ""
    return f"<span data-state data-live='{address}'></span>"


def done(result: Result) -> str:
    """The player's state with a finished video: another take of it, or its inputs and settings again.

    An animated picture is shown here, in place of the video.
    """
    buttons = result_buttons(result.number)
    if is_picture(result.file):
        address = escape("gradio_api/file=" + quote(str(result.file)))
        return f"<span data-state></span><img class='picture' src='{address}' alt='Video {result.number}'>{buttons}"
    return f"<span data-state data-result='{result.number}'></span>{buttons}"


def result_buttons(number: int) -> str:
    """Buttons of a result: another take, and its inputs and settings again."""
    return (
        f"<button type='button' data-take='{number}'>Another take</button>"
        f"<button type='button' data-again='{number}'>Same again</button>"
    )


def source_view(inputs: dict) -> str:
    """What a video is made of, to be seen beside it: the video that was dubbed, the driving video, or the portrait."""
    start = inputs.get("start") if isinstance(inputs.get("start"), int | float) else 0
    for name, label in (("film", "The video before"), ("driving", "Driving video"), ("portrait", "Portrait")):
        value = inputs.get(name)
        path = value.get("path") if isinstance(value, dict) else None
        if path and Path(path).exists():
            address = escape("gradio_api/file=" + quote(str(path)))
            if name == "portrait":
                return f"<img src='{address}' alt='{label}'>"
            begin = f" data-start='{start}'" if name == "film" else ""
            return f"<video src='{address}' muted playsinline preload='metadata' aria-label='{label}'{begin}></video>"
    return ""
