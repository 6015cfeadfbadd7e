// An image, or a video that plays by itself, of something of the service.

import { element, media, video } from "./api.js";

export async function picture({ path, image, title }, properties = {}) {
  if (image) return element("img", { src: await media(path), alt: title });
  const shown = await video(path, { tabIndex: -1, ariaLabel: title, ...properties });
  // A browser shows a GIF as an image alone, and some videos not at all.
  shown.addEventListener("error", () => shown.replaceWith(element("img", { src: shown.src, alt: title })));
  return shown;
}
