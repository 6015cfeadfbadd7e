// The captions of references and video: written by the service, edited here.

import { element, post } from "./api.js";

const at = (id) => document.getElementById(id);
const texts = new Map(); // by the key of a reference; a caption outlives a change of the list

export function setUpCaptions({ references, images, model, busy }) {
  at("write-captions").addEventListener("click", () => busy("Writing the captions …", async () => {
    at("captions-note").textContent = "";
    await write(references()[0], images()[0], model());
  }, "captions-problem"));
}

// One field for each reference, as they are now.
export function showCaptions(references, images) {
  const keys = references.map((item) => item.key).join();
  if (at("reference-captions").dataset.keys !== keys) {
    at("reference-captions").dataset.keys = keys;
    showFields(references);
  }
  at("write-captions").disabled = references.length !== 1 || images.length !== 1;
  at("prompt-label").textContent = images.length > 1 ? "Caption of all the videos" : "Caption of the video";
}

function showFields(references) {
  const named = (index) => (references.length > 1 ? ` ${index + 1}: ${references[index].title}` : "");
  const fields = references.map((item, index) => (item.encoded ? "" : field(item, named(index))));
  at("reference-captions").replaceChildren(...fields);
}

function field(item, which) {
  const area = element("textarea", { rows: 2, maxLength: 10000, value: texts.get(item.key) ?? "", placeholder: item.caption || "a teal car on a beach" });
  area.addEventListener("input", () => texts.set(item.key, area.value));
  return element("label", {}, `Caption of the reference${which} `, area);
}

// The captions of a request with these references; the service completes what is empty.
export function captionFields(references) {
  const given = references.map((item) => (texts.get(item.key) ?? "").trim());
  const fields = { prompt: at("prompt").value.trim() };
  if (given.some(Boolean)) fields.reference_prompts = references.map((item, index) => given[index] || item.caption || "");
  return fields;
}

export function fillCaptions(earlier, references) {
  at("prompt").value = earlier.prompt ?? "";
  texts.clear();
  const given = earlier.reference_prompts ?? [];
  if (given.length === references.length) references.forEach((item, index) => texts.set(item.key, given[index])); // none is gone
  showFields(references);
}

async function write(item, image, model) {
  const asked = { reference: item.send(), image: image.id, model };
  const caption = (texts.get(item.key) ?? "").trim();
  if (caption) asked.reference_prompt = caption;
  if (at("prompt").value.trim()) asked.prompt = at("prompt").value.trim();
  try {
    const written = await post("/v1/captions", asked);
    texts.set(item.key, written.reference_prompt);
    at("prompt").value = written.prompt;
    showFields([item]);
    at("captions").open = true;
    at("captions-note").textContent = `Written by ${written.writer}. Edit them as you like.`;
  } catch (error) {
    if (error.code !== "no_captioner") throw error;
    at("captions-note").textContent = "No prompt writer is set up on this service. Write the captions yourself, leave them empty, or start the service with a writer, such as vap serve --captioner gemini.";
  }
}
