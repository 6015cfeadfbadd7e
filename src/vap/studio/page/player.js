// Several videos with one set of controls: each begins and ends with the others.

import { calm, element } from "./api.js";

const SPEEDS = [0.25, 0.5, 1, 2];
const DRIFT = 0.15; // seconds by which videos may be apart

// Parts are {video, start, end} in seconds; without an end it is the video's. The last one sets the
// pace. Frames are how many stops the slider has, for the arrow keys.
export function player(given, frames = 49) {
  let parts = given;
  const button = element("button", { type: "button", className: "small", ariaLabel: "Play" }, "▶");
  const place = element("input", { type: "range", min: 0, max: 1, step: 1 / Math.max(frames - 1, 1), value: 0, ariaLabel: "Place in the videos" });
  const speed = element("select", { ariaLabel: "Speed" }, ...SPEEDS.map((each) => element("option", { value: each, selected: each === 1 }, `${each}×`)));
  const bar = element("div", { className: "player" }, button, place, speed);
  const leader = parts.at(-1);
  const start = (part) => part.start ?? 0;
  const lasts = (part) => Math.max((part.end ?? part.video.duration) - start(part), 0.01) || 0.01;
  let playing = false;

  for (const { video } of parts) video.loop = false;

  const at = () => Math.min((leader.video.currentTime - start(leader)) / lasts(leader), 1);

  function seek(where) {
    for (const part of parts) part.video.currentTime = start(part) + Math.min(where, 0.999) * lasts(part);
    place.value = where;
  }

  function play(on) {
    playing = on;
    button.textContent = on ? "⏸" : "▶";
    button.setAttribute("aria-label", on ? "Pause" : "Play");
    for (const part of parts) {
      part.video.playbackRate = Math.min(16, Math.max(0.0625, (Number(speed.value) * lasts(part)) / lasts(leader)));
      if (on) part.video.play().catch(() => {}); // paused again meanwhile
      else part.video.pause();
    }
    if (on) requestAnimationFrame(follow);
  }

  function follow() {
    if (!playing) return;
    if (!bar.isConnected) return play(false);
    const where = at();
    if (where >= 0.999 || leader.video.ended) {
      seek(0);
      play(true);
      return;
    }
    place.value = where;
    for (const part of parts) {
      const wanted = start(part) + where * lasts(part);
      if (part !== leader && Math.abs(part.video.currentTime - wanted) > DRIFT * part.video.playbackRate) part.video.currentTime = wanted;
    }
    requestAnimationFrame(follow);
  }

  button.addEventListener("click", () => {
    if (!playing && at() >= 0.999) seek(0);
    play(!playing);
  });
  place.addEventListener("input", () => {
    play(false);
    seek(Number(place.value));
  });
  speed.addEventListener("change", () => play(playing));
  // Who asks for less motion starts the videos.
  ready(parts).then(() => {
    parts = parts.filter(({ video }) => !video.error); // an animated image plays by itself
    seek(0);
    if (!calm.matches && bar.isConnected) play(true);
  });
  return bar;
}

const ready = (parts) => Promise.all(parts.map(({ video }) => video.readyState >= 1 || new Promise((done) => { video.onloadedmetadata = video.onerror = done; })));
