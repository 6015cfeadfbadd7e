"use strict";
const byId = (id) => document.getElementById(id);
const list = byId("conditions");
const cards = [...list.children];
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

// Clips play while they are on the screen, so a page of hundreds stays light.
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting && !still) target.play().catch(() => {});
    else target.pause();
  }
});
for (const video of document.querySelectorAll("video")) {
  watcher.observe(video);
  video.addEventListener("click", () => (video.paused ? video.play() : video.pause()));
  video.addEventListener("error", () => {
    const note = document.createElement("span");
    note.textContent = "cannot be played";
    video.replaceWith(note);
  });
}

function refresh() {
  const words = byId("query").value.toLowerCase().split(/\s+/).filter(Boolean);
  const split = byId("split").value;
  const from = Number(byId("score").value);
  byId("from").value = from;
  let samples = 0;
  let conditions = 0;
  for (const card of cards) {
    let any = false;
    for (const sample of card.querySelectorAll(".sample")) {
      const text = sample.dataset.text;
      const fits =
        (!split || sample.dataset.split === split) &&
        Number(sample.dataset.score) >= from &&
        words.every((word) => text.includes(word));
      sample.hidden = !fits;
      any = any || fits;
      samples += fits;
    }
    card.hidden = !any;
    conditions += any;
  }
  byId("none").hidden = conditions > 0;
  byId("shown").textContent = `${samples} samples of ${conditions} conditions`;
}

function reorder() {
  const key = byId("order").value;
  const value = (card) => Number(card.dataset[key]);
  const sorted = key === "name" ? cards : [...cards].sort((a, b) => value(b) - value(a));
  list.append(...sorted);
}

byId("query").addEventListener("input", refresh);
byId("split").addEventListener("change", refresh);
byId("score").addEventListener("input", refresh);
byId("order").addEventListener("change", reorder);
byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const chosen = root.style.colorScheme;
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.style.colorScheme = dark ? "light" : "dark";
});
refresh();
