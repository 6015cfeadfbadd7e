// A part of a video: a play head and two handles, and a preview that loops in between.

import { element } from "./api.js";
import { chosenModel } from "./catalog.js";

const SHORTEST = 0.1; // seconds
const STEP = 0.05;

// An editor for an upload, and the part that it has chosen as fields of a reference.
export function trimmer(sent, { start = 0, end = sent.seconds }, onChange) {
  const length = sent.seconds;
  const from = slider("Start", start);
  const to = slider("End", end);
  const head = slider("Position", start);
  const reads = element("p", { className: "soft reads" });
  const play = element("button", { type: "button", className: "small" }, "Play");
  const whole = element("button", { type: "button", className: "small" }, "Whole video");
  let shown = null;

  function slider(name, value) {
    const output = element("span", { className: "value" }); // an <output> would take the label
    const input = element("input", { type: "range", min: 0, max: length, step: STEP });
    input.value = value;
    const row = element("label", { className: name.toLowerCase() }, `${name} `, output, input);
    const tell = () => {
      output.textContent = `${Number(input.value).toFixed(2)} s`;
      input.setAttribute("aria-valuetext", `${Number(input.value).toFixed(2)} seconds`);
    };
    tell();
    return { row, input, tell, get value() { return Number(input.value); }, set value(to) { input.value = to; tell(); } };
  }

  // A handle at an end of the video cuts nothing off.
  const part = () => ({ ...(from.value > 0 && { start: from.value }), ...(to.value < length - STEP && { end: to.value }) });
  const stop = () => part().end ?? length;
  const cut = () => Object.keys(part()).length > 0;

  // A handle stops before the other, and shows the frame where it is.
  function moved(handle) {
    if (handle === from) from.value = Math.min(from.value, Math.max(0, to.value - SHORTEST));
    else to.value = Math.max(to.value, Math.min(length, from.value + SHORTEST));
    seek(handle === from ? from.value : Math.max(from.value, to.value - SHORTEST));
    tell();
    onChange();
  }

  function tell() {
    const used = cut() ? `${(stop() - from.value).toFixed(2)} of ${length.toFixed(2)} s are used.` : "The whole video is used.";
    const frames = chosenModel()?.num_frames;
    reads.textContent = frames ? `${used} The model sees ${frames} frames, spread evenly over it.` : used;
    whole.disabled = !cut();
    editor.style.setProperty("--from", `${(100 * from.value) / length}%`);
    editor.style.setProperty("--to", `${(100 * to.value) / length}%`);
  }

  function seek(time) {
    head.value = time;
    if (shown) shown.currentTime = time;
  }

  function follow() {
    if (!shown.isConnected) return;
    if (shown.currentTime >= to.value || shown.currentTime < from.value - STEP) shown.currentTime = from.value;
    head.value = shown.currentTime;
    later();
  }

  // Not every browser tells of each frame.
  function later() {
    if (shown.requestVideoFrameCallback) shown.requestVideoFrameCallback(follow);
    else shown.addEventListener("timeupdate", follow, { once: true });
  }

  for (const handle of [from, to]) handle.input.addEventListener("input", () => moved(handle));
  head.input.addEventListener("input", () => {
    shown?.pause();
    seek(Math.min(Math.max(head.value, from.value), to.value));
  });
  play.addEventListener("click", () => (shown?.paused ? shown.play() : shown?.pause()));
  whole.addEventListener("click", () => {
    [from.value, to.value] = [0, length];
    moved(from);
  });

  const editor = element("details", { className: "trim" }, element("summary", {}, "Trim"), head.row, from.row, to.row, element("div", { className: "actions" }, play, whole), reads);
  editor.open = cut();
  document.getElementById("model").addEventListener("change", tell);
  tell();

  // The video comes into the stage once it is loaded.
  function attach(stage) {
    new MutationObserver((_, watching) => {
      shown = stage.querySelector("video");
      if (!shown) return;
      watching.disconnect();
      // An animated image has no play head.
      shown.addEventListener("error", () => { head.row.hidden = play.hidden = true; });
      for (const kind of ["play", "pause"]) shown.addEventListener(kind, () => { play.textContent = shown.paused ? "Play" : "Pause"; });
      shown.addEventListener("loadedmetadata", () => seek(from.value));
      later();
    }).observe(stage, { childList: true });
    return editor;
  }

  return { editor: attach, part };
}
