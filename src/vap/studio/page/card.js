// One video: waiting, being made, or ended.

import { actions, button, ended, row } from "./actions.js";
import { call, element, post } from "./api.js";
import { pair } from "./pair.js";
import { capital, titleOf } from "./sources.js";

export function card(job, videos) {
  const made = element("article", { className: "card", dataset: { id: job.id, text: searchText(job) } });
  return { element: made, draw: (now) => draw(made, now, videos) };
}

export const searchText = (job) => [titleOf(job), job.model, ...(job.request.reference_prompts ?? []), ...(job.request.references ?? []).map((each) => each.effect ?? "")].join(" ");

function draw(place, job, videos) {
  const facts = [job.model, job.request.size, `seed ${job.seed}`].filter(Boolean).join(", ");
  const top = element("div", { className: "top" }, element("h3", {}, titleOf(job)), element("span", { className: "soft" }, facts));
  if (!ended(job)) {
    if (!place.querySelector("progress")) place.replaceChildren(top, ...waiting(job));
    showProgress(place, job);
    return;
  }
  const shown = job.status === "completed" ? [result(job), ...reportOf(job)] : [reason(job)];
  place.replaceChildren(top, ...shown, actions(job, videos));
}

function result(job) {
  const place = element("div", { className: "result" });
  pair(job).then((made) => place.replaceChildren(made)).catch((error) => place.replaceChildren(element("p", { className: "failed" }, error.message)));
  return place;
}

export const reason = (job) => element("p", { className: job.status }, job.error?.message ?? "Canceled.");

export function waiting(job) {
  return [
    element("progress", { max: 100, ariaLabel: "Progress" }),
    element("p", { className: "soft doing" }),
    element("div", { className: "preview" }),
    row(button("Cancel", () => post(`/v1/videos/${job.id}/cancel`))),
  ];
}

export function showProgress(place, job) {
  place.querySelector("progress").value = job.progress;
  place.querySelector(".doing").textContent = job.status === "queued" ? queued(job) : [`${capital(job.stage || "starting")}, ${job.progress} %`, left(job)].filter(Boolean).join(", ");
  if (job.has_preview) preview(place.querySelector(".preview"), job);
}

const queued = (job) => `Waiting${job.queue_position ? `, number ${job.queue_position} in the queue` : ""}`;

// By the share that is done; too early a guess would jump.
function left(job) {
  if (!job.started_at || job.progress < 10) return "";
  const seconds = ((Date.now() / 1000 - job.started_at) * (100 - job.progress)) / job.progress;
  if (seconds < 1) return "";
  return seconds < 90 ? `about ${Math.ceil(seconds)} s left` : `about ${Math.ceil(seconds / 60)} min left`;
}

// The emerging video; it changes, so it is not kept.
async function preview(place, job) {
  try {
    const blob = await (await call(`/v1/videos/${job.id}/content?variant=preview`)).blob();
    const image = element("img", { src: URL.createObjectURL(blob), alt: "Preview of the emerging video" });
    image.onload = () => URL.revokeObjectURL(image.src);
    place.replaceChildren(image);
  } catch {
    // The video may be done by now.
  }
}

const VERDICTS = { used: "The reference is used", weak: "The reference has little influence", ignored: "The reference is ignored" };

// "Is my reference used?"
function reportOf(job) {
  const use = job.reference_use;
  if (!use) return [];
  return [element("section", { className: `report ${use.verdict}`, ariaLabel: "Use of the reference" },
    element("b", {}, VERDICTS[use.verdict] ?? use.verdict),
    element("meter", { min: 0, max: 1, value: use.score, ariaLabel: "How much the reference changes the video" }),
    element("span", { className: "soft" }, `Difference from the video without it: ${Math.round(use.score * 100)} %`),
    element("p", {}, use.message))];
}
