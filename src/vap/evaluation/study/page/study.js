"use strict";

const rater = location.pathname.split("/").pop();
const at = (id) => document.getElementById(id);
let items = [];
let place = 0;
let picks = {};
let shownAt = 0;
let paused = false;

async function start() {
  const answer = await fetch(`/api/${rater}`);
  items = (await answer.json()).items;
  const open = items.findIndex((item) => item.picks === null);
  show(open === -1 ? items.length : open);
}

function show(number) {
  place = number;
  const done = items.filter((item) => item.picks !== null).length;
  at("progress").firstElementChild.style.width = `${(100 * done) / items.length}%`;
  at("progress").setAttribute("aria-valuenow", done);
  at("progress").setAttribute("aria-valuemax", items.length);
  at("count").textContent = `${Math.min(place + 1, items.length)} of ${items.length}`;
  at("question").hidden = place >= items.length;
  at("end").hidden = place < items.length;
  if (place >= items.length) {
    at("videos").replaceChildren();
    return;
  }
  const item = items[place];
  picks = { ...(item.picks ?? {}) };
  at("reference").src = `/media/${item.reference}`;
  at("image").src = `/media/${item.image}`;
  at("videos").replaceChildren(...item.videos.map(card));
  at("back").disabled = place === 0;
  at("problem").textContent = "";
  shownAt = performance.now();
  setPaused(false);
  mark();
  playTogether();
  window.scrollTo(0, 0);
}

function card(token, index) {
  const made = document.createElement("article");
  made.className = "card";
  const video = document.createElement("video");
  Object.assign(video, { src: `/media/${token}`, muted: true, playsInline: true, preload: "auto" });
  const title = document.createElement("h2");
  title.textContent = `Video ${index + 1}`;
  const buttons = document.createElement("div");
  buttons.className = "picks";
  for (const [pick, text] of [["semantics", "Follows best"], ["quality", "Looks best"]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.setAttribute("aria-label", `Video ${index + 1}: ${text}`);
    Object.assign(button.dataset, { pick, video: token });
    buttons.append(button);
  }
  made.append(video, title, buttons);
  return made;
}

function mark() {
  for (const button of document.querySelectorAll("[data-pick]")) {
    button.setAttribute("aria-pressed", picks[button.dataset.pick] === button.dataset.video);
  }
  at("next").disabled = !("semantics" in picks && "quality" in picks);
}

function choose(pick, video) {
  picks[pick] = video;
  mark();
}

async function next() {
  if (at("next").disabled) return;
  const item = items[place];
  const seconds = (performance.now() - shownAt) / 1000;
  at("next").disabled = true;
  try {
    const answer = await fetch(`/api/${rater}/${item.item}`, {
      method: "PUT",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...picks, seconds }),
    });
    if (!answer.ok) throw new Error(answer.statusText);
  } catch {
    at("problem").textContent = "Your picks could not be saved. Check the connection and press Next again.";
    at("next").disabled = false;
    return;
  }
  item.picks = { ...picks };
  const open = items.findIndex((other, index) => index > place && other.picks === null);
  const first = items.findIndex((other) => other.picks === null);
  show(open !== -1 ? open : first !== -1 ? first : items.length);
}

// All videos start together, and start again when the longest has ended.
function playTogether() {
  const videos = [...document.querySelectorAll("#question video")];
  for (const video of videos) {
    video.onended = () => {
      if (!paused && videos.every((each) => each.ended || each.error)) restart(videos);
    };
  }
  const ready = videos.map((video) => new Promise((done) => {
    if (video.readyState >= 2) done();
    video.addEventListener("loadeddata", done, { once: true });
    video.addEventListener("error", done, { once: true });
  }));
  Promise.all(ready).then(() => restart(videos));
}

function restart(videos) {
  for (const video of videos) video.currentTime = 0;
  for (const video of videos) video.play().catch(() => {});
}

function setPaused(value) {
  paused = value;
  at("pause").textContent = paused ? "Play" : "Pause";
  for (const video of document.querySelectorAll("#question video")) {
    if (paused) video.pause();
    else if (!video.ended) video.play().catch(() => {});
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-pick]");
  if (button) choose(button.dataset.pick, button.dataset.video);
});
at("next").addEventListener("click", next);
at("back").addEventListener("click", () => show(Math.max(0, place - 1)));
at("again").addEventListener("click", () => show(0));
at("pause").addEventListener("click", () => setPaused(!paused));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || place >= items.length) return;
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code);
  if (digit) {
    const number = Number(digit[1]);
    const video = number === 0 ? "" : items[place].videos[number - 1];
    if (video !== undefined) choose(event.shiftKey ? "quality" : "semantics", video);
  } else if (event.key === "Enter" && event.target.tagName !== "BUTTON") {
    next();
  } else if (event.key === " " && event.target.tagName !== "BUTTON") {
    setPaused(!paused);
  } else if (event.key === "Backspace") {
    show(Math.max(0, place - 1));
  } else {
    return;
  }
  event.preventDefault();
});

start();
