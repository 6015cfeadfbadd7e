// A result beside its references, in sync; larger in a dialog.

import { findModel } from "./catalog.js";
import { element } from "./api.js";
import { player } from "./player.js";
import { figure, referenceFigures, still, titleOf } from "./sources.js";

export async function pair(job, { large = true } = {}) {
  const references = await referenceFigures(job.request.references ?? []);
  const result = await still(`/v1/videos/${job.id}/content`, "result");
  const videos = element("div", { className: "pair" }, ...references.map((each) => each.figure), figure(result, "result"));
  const parts = [...references.map((each) => each.part).filter(Boolean), { video: result }];
  const bar = player(parts, job.request.num_frames ?? findModel(job.model)?.num_frames);
  if (large) bar.append(element("button", { type: "button", className: "small", onclick: () => enlarge(job) }, "Larger"));
  return element("div", {}, videos, bar);
}

export async function enlarge(job) {
  const dialog = document.getElementById("viewer");
  dialog.querySelector("h2").textContent = titleOf(job);
  dialog.querySelector("div").replaceChildren(await pair(job, { large: false }));
  dialog.addEventListener("close", () => dialog.querySelector("div").replaceChildren(), { once: true });
  dialog.showModal();
  return dialog;
}
