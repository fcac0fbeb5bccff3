// The test page of `anitalker serve`: a portrait, a microphone or a text, and the face by WebRTC. No build step.
"use strict";

const $ = (id) => document.getElementById(id);
const GATHER_MS = 3000; // that the browser's search for its own addresses may take
let avatar = null; // id of the uploaded portrait
let session = null; // {id, connection, channel, stream}
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
  const voices = await request("/v1/voices");
  $("voice").replaceChildren(...voices.map((voice) => new Option(voice.label, voice.value)));
}

async function uploadPortrait() {
  const file = $("portrait").files[0];
  if (!file) return;
  tell("The portrait is prepared.");
  const form = new FormData();
  form.append("portrait", file);
  avatar = (await request("/v1/avatars", { method: "POST", body: form })).id;
  tell("The portrait is ready: start.");
}

async function openMicrophone() {
  if ($("microphone").value === "off") return null;
  // Without echo cancellation the face would hear, and say, what it has just said.
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  return navigator.mediaDevices.getUserMedia({ audio });
}

function gathered(connection) {
  return new Promise((resolve) => {
    const check = () => connection.iceGatheringState === "complete" && resolve();
    connection.addEventListener("icegatheringstatechange", check);
    setTimeout(resolve, GATHER_MS);
    check();
  });
}

async function start() {
  if (!avatar) await uploadPortrait();
  if (!avatar) throw new Error("Choose a portrait first.");
  await stop();
  $("start").disabled = true;
  tell("The face wakes up.");
  const microphone = $("microphone").value;
  const stream = await openMicrophone();
  const connection = new RTCPeerConnection({ iceServers: await request("/v1/sessions/ice-servers") });
  session = { id: null, connection, stream };
  try {
    const remote = new MediaStream();
    connection.addEventListener("track", (event) => {
      remote.addTrack(event.track);
      if ("jitterBufferTarget" in event.receiver) event.receiver.jitterBufferTarget = 0;
      $("face").srcObject = remote;
    });
    connection.addEventListener("connectionstatechange", () => {
      if (connection.connectionState === "connected") tell("Live.");
      if (connection.connectionState === "failed") guarded(stop);
    });
    if (stream) connection.addTrack(stream.getAudioTracks()[0], stream);
    else connection.addTransceiver("audio", { direction: "recvonly" });
    connection.addTransceiver("video", { direction: "recvonly" });
    session.channel = connection.createDataChannel("messages");
    session.channel.addEventListener("message", (event) => show(JSON.parse(event.data)));
    await connection.setLocalDescription(await connection.createOffer());
    await gathered(connection);
    const { sdp } = connection.localDescription;
    const answer = await request("/v1/sessions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ sdp, type: "offer", avatar, microphone }),
    });
    session.id = answer.id;
    await connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
  } catch (error) {
    await stop();
    throw error;
  }
  for (const id of ["stop", "say", "interrupt"]) $(id).disabled = false;
}

async function stop() {
  const ended = session;
  session = null;
  for (const id of ["stop", "say", "interrupt"]) $(id).disabled = true;
  $("start").disabled = false;
  if (!ended) return;
  ended.stream?.getTracks().forEach((track) => track.stop());
  ended.connection.close();
  $("face").srcObject = null;
  tell("Ended.");
  if (ended.id) await request(`/v1/sessions/${ended.id}`, { method: "DELETE" }).catch(() => null);
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
    tell({ speaking: "It speaks.", idle: "It waits.", turn_ended: "It has finished." }[message.event] || "Live.");
  }
}

async function say() {
  const form = new FormData();
  form.append("text", $("text").value);
  form.append("voice", $("voice").value);
  await request(`/v1/sessions/${session.id}/say`, { method: "POST", body: form });
}

function interrupt() {
  if (session.channel.readyState === "open") session.channel.send("interrupt");
  else return request(`/v1/sessions/${session.id}/interrupt`, { method: "POST" });
}

$("portrait").addEventListener("change", () => guarded(uploadPortrait));
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
