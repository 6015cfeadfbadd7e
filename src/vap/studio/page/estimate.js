// Time and memory before a video is made, as the service estimates them.

import { post } from "./api.js";

const QUIET = 400; // milliseconds without a change
const at = (id) => document.getElementById(id);
let latest = 0; // an answer to an older question is dropped
let waiting = null;

// Ask soon; `plan` returns the request of one video and their number, or nothing to ask.
export function estimateSoon(plan) {
  const ticket = ++latest;
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    const asked = plan();
    if (asked) at("estimate").textContent = "Estimating time and memory …";
    const text = asked ? await ask(asked) : "";
    if (ticket === latest) at("estimate").textContent = text;
  }, QUIET);
}

async function ask({ request, count }) {
  const { image, group, seed, ...others } = request; // they change nothing
  try {
    const found = await post("/v1/estimates", others);
    return [timeOf(found, count), memoryOf(found)].filter(Boolean).join(" ");
  } catch (error) {
    return `No estimate: ${error.message}`;
  }
}

function timeOf({ seconds, basis }, count) {
  if (seconds === null) return "The time is not known: this model was not downloaded yet. The first video downloads it.";
  const each = count > 1 ? `About ${lasts(seconds)} a video, ${lasts(seconds * count)} for ${count}` : `About ${lasts(seconds)}`;
  return basis === "measured" ? `${each}, as earlier videos like this took.` : `${each}, calculated for this machine; loading the model comes on top.`;
}

function memoryOf({ memory_bytes: needed, memory_available_bytes: there, fits }) {
  if (needed === null) return "";
  if (fits === false) return `It needs ${size(needed)} of memory, and there are ${size(there)}: it will probably fail. Choose a smaller size or another model.`;
  return `Memory: ${size(needed)}${there === null ? "" : ` of ${size(there)}`}.`;
}

function lasts(seconds) {
  if (seconds < 1) return "1 s";
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

const size = (bytes) => (bytes < 1e9 ? `${Math.max(1, Math.round(bytes / 1e6))} MB` : `${(bytes / 1e9).toFixed(1)} GB`);
