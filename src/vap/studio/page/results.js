// Videos that are made or being made: the service keeps them, this page shows them.

import { call, element, get, media, post, video } from "./api.js";

const at = (id) => document.getElementById(id);
const PAGE = 20;
const LOOK_EVERY = 700; // milliseconds
const cards = new Map();
let oldest = null;
let reuse = () => {};

export async function setUpResults(onReuse) {
  reuse = onReuse;
  at("more").addEventListener("click", showEarlier);
  await showEarlier();
  at("empty").hidden = cards.size > 0;
}

export function add(job) {
  at("empty").hidden = true;
  at("results").prepend(show(job));
  cards.get(job.id).scrollIntoView({ behavior: "smooth", block: "nearest" });
}

async function showEarlier() {
  const page = await get(`/v1/videos?limit=${PAGE}${oldest ? `&after=${oldest}` : ""}`);
  at("results").append(...page.data.map(show));
  oldest = page.last_id ?? oldest;
  at("more").hidden = !page.has_more;
}

function show(job) {
  const card = element("article", { className: "card", dataset: { id: job.id } });
  cards.set(job.id, card);
  draw(card, job);
  if (!ended(job)) follow(card, job.id);
  return card;
}

const ended = (job) => ["completed", "failed", "canceled"].includes(job.status);

async function follow(card, id) {
  let job = null;
  while (card.isConnected || job === null) {
    await new Promise((done) => setTimeout(done, LOOK_EVERY));
    try {
      job = await get(`/v1/videos/${id}`);
    } catch {
      continue; // the service may be starting again
    }
    draw(card, job);
    if (ended(job)) return;
  }
}

function draw(card, job) {
  const title = job.prompt || effectOf(job) || "Video";
  const top = element("div", { className: "top" }, element("b", {}, title), element("span", { className: "soft" }, `${job.model}, seed ${job.seed}`));
  if (job.status === "completed") card.replaceChildren(top, pair(job), finished(job));
  else if (ended(job)) card.replaceChildren(top, element("p", { className: job.status }, job.error?.message ?? "Canceled."), actions(again(job), change(job), remove(job)));
  else waiting(card, top, job);
}

const effectOf = (job) => job.request.references?.[0]?.effect;

function waiting(card, top, job) {
  const text = job.status === "queued" ? `Waiting${job.queue_position ? `, number ${job.queue_position} in the queue` : ""}` : `${job.stage || "starting"} … ${job.progress} %`;
  if (!card.querySelector("progress")) {
    card.replaceChildren(top, element("progress", { max: 100 }), element("p", { className: "soft", role: "status" }), element("div", { className: "preview" }), actions(button("Cancel", () => post(`/v1/videos/${job.id}/cancel`))));
  }
  card.querySelector("progress").value = job.progress;
  card.querySelector("[role=status]").textContent = text;
  if (job.has_preview) preview(card.querySelector(".preview"), job);
}

// The emerging video; it changes, so it is not kept.
async function preview(place, job) {
  try {
    const blob = await (await call(`/v1/videos/${job.id}/content?variant=preview`)).blob();
    const image = element("img", { src: URL.createObjectURL(blob), alt: "Preview" });
    image.onload = () => URL.revokeObjectURL(image.src);
    place.replaceChildren(image);
  } catch {
    // The video may be done by now.
  }
}

// Reference and result start together, and again when the longer one has ended.
function pair(job) {
  const made = element("div", { className: "pair" });
  const [reference] = job.request.references ?? [];
  const source = reference?.upload ? `/v1/uploads/${reference.upload}/content` : reference?.effect ? `/v1/effects/${reference.effect}/preview` : null;
  const parts = [source && [source, "reference"], [`/v1/videos/${job.id}/content`, "result"]].filter(Boolean);
  Promise.all(parts.map(async ([path, title]) => {
    const shown = await video(path, { loop: false });
    return element("figure", {}, shown, element("figcaption", {}, title));
  })).then((figures) => {
    made.replaceChildren(...figures);
    const videos = [...made.querySelectorAll("video")];
    const restart = () => videos.forEach((each) => { each.currentTime = 0; each.play().catch(() => {}); });
    for (const each of videos) each.onended = () => videos.every((other) => other.ended) && restart();
    restart();
  }).catch((error) => made.replaceChildren(element("p", { className: "failed" }, error.message)));
  return made;
}

function finished(job) {
  const download = button("Download", async () => {
    element("a", { href: await media(`/v1/videos/${job.id}/content`), download: `${job.id}.mp4` }).click();
  });
  const variations = button("Four variations", async () => {
    for (let count = 0; count < 4; count += 1) add(await post(`/v1/videos/${job.id}/remix`, {}));
  });
  return actions(download, again(job), variations, change(job), remove(job));
}

const again = (job) => button("Another seed", async () => add(await post(`/v1/videos/${job.id}/remix`, {})));
const change = (job) => button("Change settings", () => reuse(job.request));
const remove = (job) => button("Delete", async () => {
  await call(`/v1/videos/${job.id}`, { method: "DELETE" });
  cards.get(job.id).remove();
  cards.delete(job.id);
  at("empty").hidden = cards.size > 0;
});

const actions = (...buttons) => element("div", { className: "actions" }, ...buttons);

function button(text, act) {
  const made = element("button", { type: "button" }, text);
  made.addEventListener("click", async () => {
    made.disabled = true;
    try {
      await act();
    } catch (error) {
      made.after(element("p", { className: "failed", role: "alert" }, error.message));
    } finally {
      made.disabled = false;
    }
  });
  return made;
}
