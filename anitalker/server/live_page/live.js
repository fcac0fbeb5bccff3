// The test page of `anitalker serve`: a portrait, a microphone or a text, and the face by WebRTC. No build step.
// Addresses are relative: the web page shows this one below /live/, with ?avatar=ID of a portrait that was chosen there.
"use strict";

const $ = (id) => document.getElementById(id);
const MIN_CANDIDATES_MS = 50; // in which candidates gather for one message
let avatar = new URLSearchParams(location.search).get("avatar"); // id of a prepared portrait
let session = null; // {id, connection, channel, stream, timers}
let dropped = 0;

function tell(text, kind = "") {
  $("state").textContent = text;
  $("state").dataset.kind = kind;
}

async function request(path, options = {}) {
  const token = $("token").value;
  const headers = { ...(token && { authorization: `Bearer ${token}` }), ...options.headers };
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) $("token-field").hidden = false;
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    throw new Error(body.detail || `the server answers ${answer.status}`);
  }
  return answer.status === 204 ? null : answer.json();
}

async function guarded(work) {
  try {
    await work();
  } catch (error) {
    tell(error.message, "error");
  }
}

async function loadVoices() {
  const voices = await request("v1/voices");
  $("voice").replaceChildren(...voices.map((voice) => new Option(voice.label, voice.value)));
}

async function takePortrait(file, name, tile) {
  tell("The portrait is prepared.");
  document.querySelectorAll(".tiles button").forEach((each) => each.setAttribute("aria-pressed", each === tile));
  document.querySelector(".upload").classList.toggle("chosen", !tile);
  const form = new FormData();
  form.append("portrait", file, name);
  avatar = (await request("v1/avatars", { method: "POST", body: form })).id;
  $("still").src = file.type.startsWith("image/") ? URL.createObjectURL(file) : "";
  $("still").hidden = !file.type.startsWith("image/");
  tell("The portrait is ready: start.");
}

async function takeUpload() {
  const file = $("portrait").files[0];
  if (file) await takePortrait(file, file.name, null);
}

async function takeExample(tile) {
  const name = `${tile.dataset.example}.webp`;
  await takePortrait(await (await fetch(`examples/${name}`)).blob(), name, tile);
}

async function openMicrophone() {
  if ($("microphone").value === "off") return null;
  // Without echo cancellation the face would hear, and say, what it has just said.
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  return navigator.mediaDevices.getUserMedia({ audio });
}

// Candidates follow the offer as they are found (trickle ICE, RFC 8840), a few in a message.
function sendCandidates(opened, connection) {
  let waiting = [];
  let sending = Promise.resolve();
  connection.addEventListener("icecandidate", ({ candidate }) => {
    if (!waiting.length) setTimeout(() => { sending = sending.then(send); }, MIN_CANDIDATES_MS);
    waiting.push(candidate ? `a=${candidate.candidate}` : "a=end-of-candidates");
  });
  async function send() {
    const id = await opened;
    const lines = waiting.filter((line) => line !== "a=");
    waiting = [];
    if (!id || !lines.length) return;
    const ice = connection.localDescription.sdp.match(/^a=ice-(ufrag|pwd):.*$/gm).slice(0, 2);
    const body = [...ice, "m=audio 9 UDP/TLS/RTP/SAVPF 0", "a=mid:0", ...lines, ""].join("\r\n");
    const headers = { "content-type": "application/trickle-ice-sdpfrag" };
    await request(`v1/sessions/${id}`, { method: "PATCH", headers, body }).catch(() => null); // it may have ended
  }
}

async function start() {
  if (!avatar) throw new Error("Choose a portrait first.");
  await stop();
  $("start").disabled = true;
  tell("The face wakes up.");
  const microphone = $("microphone").value;
  const stream = await openMicrophone();
  const iceServers = await request("v1/sessions/ice-servers");
  const connection = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
  const current = (session = { id: null, connection, stream, timers: [] });
  let open;
  sendCandidates(new Promise((resolve) => { open = resolve; }), connection);
  try {
    const remote = new MediaStream();
    connection.addEventListener("track", (event) => {
      remote.addTrack(event.track);
      if ("jitterBufferTarget" in event.receiver) event.receiver.jitterBufferTarget = 0;
      $("face").srcObject = remote;
    });
    connection.addEventListener("connectionstatechange", () => {
      if (connection.connectionState === "connected") tell("Live.", "live");
      if (connection.connectionState === "failed") guarded(stop);
    });
    if (stream) connection.addTrack(stream.getAudioTracks()[0], stream);
    else connection.addTransceiver("audio", { direction: "recvonly" });
    connection.addTransceiver("video", { direction: "recvonly" });
    session.channel = connection.createDataChannel("messages");
    session.channel.addEventListener("message", (event) => show(JSON.parse(event.data)));
    await connection.setLocalDescription(await connection.createOffer());
    const { sdp } = connection.localDescription;
    const answer = await request("v1/sessions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ sdp, type: "offer", avatar, microphone }),
    });
    current.id = answer.id;
    await connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    open(answer.id);
  } catch (error) {
    open(null);
    await stop();
    throw error;
  }
  $("session").textContent = current.id;
  $("session-field").hidden = false;
  dropped = 0;
  watchLevel(current);
  current.timers.push(setInterval(() => guarded(() => showNetwork(connection)), 1000));
  for (const id of ["stop", "say", "interrupt"]) $(id).disabled = false;
}

function watchLevel({ stream, timers }) {
  if (!stream) return;
  const audio = new AudioContext();
  const node = audio.createAnalyser();
  const samples = new Float32Array(node.fftSize);
  audio.createMediaStreamSource(stream).connect(node);
  const timer = setInterval(() => {
    node.getFloatTimeDomainData(samples);
    $("level").value = Math.min(1, 4 * Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length));
    if (!stream.active) {
      clearInterval(timer);
      audio.close();
      $("level").value = 0;
    }
  }, 60);
}

async function showNetwork(connection) {
  for (const report of (await connection.getStats()).values())
    if (report.type === "candidate-pair" && report.nominated && report.currentRoundTripTime !== undefined)
      $("network").textContent = Math.round(1000 * report.currentRoundTripTime);
}

async function stop() {
  const ended = session;
  session = null;
  for (const id of ["stop", "say", "interrupt"]) $(id).disabled = true;
  $("start").disabled = false;
  $("session-field").hidden = true;
  if (!ended) return;
  ended.timers.forEach(clearInterval);
  ended.stream?.getTracks().forEach((track) => track.stop());
  ended.connection.close();
  $("face").srcObject = null;
  for (const id of ["fps", "delay", "network", "waiting"]) $(id).textContent = "-";
  $("machine").textContent = "";
  tell("Ended.");
  if (ended.id) await request(`v1/sessions/${ended.id}`, { method: "DELETE" }).catch(() => null);
}

function show(message) {
  if (message.event === "figures") {
    dropped += message.dropped;
    $("fps").textContent = message.fps.toFixed(1);
    $("delay").textContent = Math.round(1000 * message.delay);
    $("dropped").textContent = dropped;
    $("waiting").textContent = message.waiting.toFixed(1);
  } else if (message.event === "frame_rate") {
    $("machine").textContent = `The server's machine draws ${message.fps} frames a second.`;
  } else if (message.event === "closed") {
    tell("The session was silent for too long and has ended.");
  } else {
    tell({ speaking: "It speaks.", idle: "It waits.", turn_ended: "It has finished." }[message.event] || "Live.", "live");
  }
}

async function say() {
  const form = new FormData();
  form.append("text", $("text").value);
  form.append("voice", $("voice").value);
  await request(`v1/sessions/${session.id}/say`, { method: "POST", body: form });
}

function interrupt() {
  if (session.channel.readyState === "open") session.channel.send("interrupt");
  else return request(`v1/sessions/${session.id}/interrupt`, { method: "POST" });
}

if (avatar) {
  document.body.classList.add("embedded");
  tell("The portrait is ready: start.");
}
for (const tile of document.querySelectorAll("[data-example]"))
  tile.addEventListener("click", () => guarded(() => takeExample(tile)));
$("portrait").addEventListener("change", () => guarded(takeUpload));
$("token").addEventListener("change", () => guarded(loadVoices));
$("start").addEventListener("click", () => guarded(start).then(() => { if (!session) $("start").disabled = false; }));
$("stop").addEventListener("click", () => guarded(stop));
$("interrupt").addEventListener("click", () => guarded(interrupt));
$("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  if (session) guarded(say);
});
addEventListener("pagehide", () => session?.connection.close());
guarded(loadVoices);
