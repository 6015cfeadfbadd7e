// What the videos follow: effects of the library, and videos of the user, or parts of them.

import { get, upload } from "./api.js";
import { findEffect } from "./catalog.js";
import { chosenList } from "./chosen.js";
import { trimmer } from "./trim.js";

const at = (id) => document.getElementById(id);
let chosen = null;
let changed = () => {};
let latest = 0; // of the files; a slow upload does not take the place of a newer choice

export function setUpReferences(onChange) {
  changed = () => {
    mark();
    onChange();
  };
  chosen = chosenList({ list: at("references"), box: at("several-references"), input: at("reference"), onChange: () => changed() });
}

export const references = () => chosen.items;

// A second press takes an effect away where several may be chosen.
export function pickEffect(effect) {
  latest += 1;
  const item = effectItem(effect);
  if (at("several-references").checked && chosen.has(item.key)) chosen.remove(item.key);
  else chosen.add(item);
}

export async function addVideos(files) {
  const ticket = ++latest;
  const sent = await Promise.all(files.map((file) => upload(file)));
  const still = sent.find((each) => each.kind !== "video");
  if (still) throw new Error(`${still.name} must be a video to be a reference. An image goes below.`);
  if (files.length > 1) at("several-references").checked = true;
  if (ticket !== latest && !at("several-references").checked) return;
  for (const each of sent) chosen.add(uploadItem(each));
}

// The references of an earlier request; those that are gone are left out.
export async function fillReferences(earlier) {
  const ticket = ++latest;
  const items = await Promise.all(earlier.map(itemOf));
  if (ticket === latest) chosen.set(items.filter(Boolean));
  return items.every(Boolean);
}

export function mark() {
  for (const tile of document.querySelectorAll(".effect")) {
    tile.setAttribute("aria-pressed", chosen.has(`effect ${tile.dataset.name}`));
  }
}

async function itemOf(reference) {
  if (reference.effect) {
    const effect = findEffect(reference.effect);
    return effect && effectItem(effect);
  }
  if (reference.prompt) return { key: `prompt ${reference.prompt}`, title: "A stored video prompt", encoded: true, send: () => reference };
  try {
    return uploadItem(await get(`/v1/uploads/${reference.upload}`), reference);
  } catch {
    return null; // deleted meanwhile
  }
}

function effectItem(effect) {
  return {
    key: `effect ${effect.name}`,
    title: effect.title,
    note: effect.hint && `Image: ${effect.hint}`,
    path: effect.parts.includes("preview") ? `/v1/effects/${effect.name}/preview` : null,
    send: () => ({ effect: effect.name }),
    encoded: effect.encoded,
    caption: effect.reference_prompt,
    effect,
  };
}

function uploadItem(sent, part = {}) {
  const trim = trimmer(sent, part, () => changed());
  return {
    key: `upload ${sent.id}`,
    title: sent.name || "Reference video",
    note: `${sent.seconds.toFixed(1)} s, ${sent.width}×${sent.height}`,
    path: `/v1/uploads/${sent.id}/content`,
    send: () => ({ upload: sent.id, ...trim.part() }),
    editor: trim.editor,
    caption: "",
  };
}

// The last chosen effect that brings an image to try it on.
export function exampleOf() {
  return chosen.items.map((item) => item.effect).filter((effect) => effect?.parts.includes("image")).at(-1);
}

// The settings that the chosen effects recommend.
export function recommended() {
  return Object.assign({}, ...chosen.items.map((item) => item.effect?.settings ?? {}));
}
