// The list of videos: the service keeps them, this page shows them.

import { ended } from "./actions.js";
import { get } from "./api.js";
import { card } from "./card.js";
import { grid } from "./grid.js";
import { hasWords } from "./words.js";

const at = (id) => document.getElementById(id);
const PAGE = 20;
// Looking is one loop for all videos, which a restart of the service does not end; a stream for each
// would use up the connections that a browser allows.
const LOOK_EVERY = 700; // milliseconds
const shown = new Map(); // by id: {job, card}
const groups = new Map(); // by name: card
let oldest = null;
let turn = 0; // of the waiting videos
const videos = { add, drop, reuse: () => {} };

export async function setUpResults(onReuse) {
  videos.reuse = onReuse;
  at("more").addEventListener("click", showEarlier);
  at("find-video").addEventListener("input", find);
  await showEarlier();
  look();
}

export function add(job) {
  const made = show(job, "prepend");
  find();
  made.scrollIntoView({ behavior: "smooth", block: "nearest" });
}

export function drop(id) {
  const { card: made, job } = shown.get(id);
  shown.delete(id);
  if (made.without) made.without(id);
  else made.element.remove();
  if (made.without && ![...shown.values()].some((each) => each.card === made)) groups.delete(job.request.group);
  count();
}

async function showEarlier() {
  const page = await get(`/v1/videos?limit=${PAGE}${oldest ? `&after=${oldest}` : ""}`);
  for (const job of page.data) await showWhole(job);
  oldest = page.last_id ?? oldest;
  at("more").hidden = !page.has_more;
  find();
}

// With all others of its group, wherever they are in the list.
async function showWhole(job) {
  if (shown.has(job.id)) return;
  const { group } = job.request;
  const all = group ? (await get(`/v1/videos?limit=100&group=${encodeURIComponent(group)}`)).data : [job];
  for (const each of all) if (!shown.has(each.id)) show(each, "append");
}

function show(job, how) {
  const { group } = job.request;
  const made = groups.get(group) ?? (group ? grid(job, videos) : card(job, videos));
  if (group) groups.set(group, made);
  if (!made.element.isConnected) at("results")[how](made.element);
  shown.set(job.id, { job, card: made });
  made.draw(job);
  count();
  return made.element;
}

function count() {
  at("empty").hidden = shown.size > 0;
  at("find-videos").hidden = shown.size < 4;
}

function find() {
  const query = at("find-video").value;
  for (const each of at("results").children) each.hidden = !hasWords(each.dataset.text, query);
  at("nothing-found").hidden = !query.trim() || [...at("results").children].some((each) => !each.hidden);
}

// Those being made at every look; of those that wait the first, and one more in turn.
function due() {
  const open = [...shown.values()].map(({ job }) => job).filter((job) => !ended(job));
  const waiting = open.filter((job) => job.status === "queued").sort((a, b) => a.created_at - b.created_at);
  turn += 1;
  const chosen = waiting.length ? [waiting[0], waiting[turn % waiting.length]] : [];
  return [...new Set([...open.filter((job) => job.status !== "queued"), ...chosen])];
}

async function look() {
  await new Promise((done) => setTimeout(done, LOOK_EVERY));
  await Promise.all(due().map(async ({ id }) => {
    try {
      const job = await get(`/v1/videos/${id}`);
      at("lost").hidden = true;
      const found = shown.get(id);
      if (!found) return; // deleted meanwhile
      found.job = job;
      found.card.draw(job);
      if (ended(job)) at("news").textContent = job.status === "completed" ? "A video is done." : "A video has ended without a result.";
    } catch (error) {
      if (error.code === "not_found" && shown.has(id)) drop(id); // deleted elsewhere
      else at("lost").hidden = false;
    }
  }));
  look();
}
