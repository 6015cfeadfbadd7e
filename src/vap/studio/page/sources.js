// Where the references and the image of a request can be seen.

import { element, get } from "./api.js";
import { findEffect } from "./catalog.js";
import { picture } from "./picture.js";

// A reference as {path, start, end, title}; no path where nothing can be shown.
export async function sourceOf(reference) {
  if (reference.effect) {
    return { path: `/v1/effects/${reference.effect}/preview`, title: effectTitle(reference.effect) };
  }
  if (reference.upload) return { path: `/v1/uploads/${reference.upload}/content`, start: reference.start, end: reference.end, title: "reference" };
  const { upload } = await get(`/v1/prompts/${reference.prompt}`);
  return { path: upload && `/v1/uploads/${upload}/content`, title: "reference" };
}

// A video whose player plays it.
export const still = (path, title) => picture({ path, title }, { autoplay: false, controls: false, loop: false, preload: "auto" });

// Figures of the references with the parts for a player; those that are gone say so.
export async function referenceFigures(references) {
  return Promise.all(references.map(async (reference) => {
    try {
      const source = await sourceOf(reference);
      if (!source.path) throw new Error("encoded");
      const video = await still(source.path, source.title);
      return { part: { video, start: source.start, end: source.end }, figure: figure(video, source.title) };
    } catch {
      return { figure: figure(element("p", { className: "gone soft" }, "This reference can no longer be shown."), "reference") };
    }
  }));
}

export const figure = (shown, title) => element("figure", {}, shown, element("figcaption", {}, title));

export const titleOf = (job) => {
  const effect = job.request.references?.find((each) => each.effect)?.effect;
  return job.prompt || (effect && effectTitle(effect)) || "Video";
};

// Effects may be listed later than videos.
const effectTitle = (name) => findEffect(name)?.title ?? capital(name.replaceAll("-", " "));

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
