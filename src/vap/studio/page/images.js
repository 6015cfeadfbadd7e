// What the videos start from: one image, or several.

import { get, upload } from "./api.js";
import { chosenList } from "./chosen.js";

const at = (id) => document.getElementById(id);
let chosen = null;
let latest = 0; // of the files; a slow upload does not take the place of a newer choice

export function setUpImages(onChange) {
  chosen = chosenList({ list: at("images"), box: at("several-images"), input: at("image"), onChange });
}

export const images = () => chosen.items;

export async function addImages(files) {
  const ticket = ++latest;
  const sent = await Promise.all(files.map((file) => upload(file)));
  const moving = sent.find((each) => each.kind !== "image");
  if (moving) throw new Error(`${moving.name} must be an image. A reference video goes above.`);
  if (files.length > 1) at("several-images").checked = true;
  if (ticket !== latest && !at("several-images").checked) return;
  for (const each of sent) chosen.add(itemOf(each));
}

// The images of an earlier request; those that are gone are left out.
export async function fillImages(ids) {
  const ticket = ++latest;
  const sent = await Promise.all(ids.map((id) => get(`/v1/uploads/${id}`).catch(() => null)));
  if (ticket === latest) chosen.set(sent.filter(Boolean).map(itemOf));
  return sent.every(Boolean);
}

const itemOf = (sent) => ({
  key: sent.id,
  id: sent.id,
  title: sent.name || "Image",
  note: `${sent.width}×${sent.height}`,
  path: `/v1/uploads/${sent.id}/content`,
  image: true,
});
