// What to make: a reference or an effect, an image, a caption, settings.

import { call, element, get, media, upload, video } from "./api.js";

const at = (id) => document.getElementById(id);
const NUMBERS = ["reference_guidance_scale", "num_inference_steps", "seed"];
const MAKE = at("make").textContent;
let working = 0;
let choices = null; // effects and models, once the service has listed them
const state = { reference: null, image: null, effects: [], models: [] };

export async function setUpForm(onMake) {
  // Before anything is awaited: a file may be chosen at once.
  takeFiles("reference", chooseReference);
  takeFiles("image", chooseImage);
  at("example").addEventListener("click", useExample);
  at("model").addEventListener("change", showModel);
  at("strength").addEventListener("input", (event) => { event.target.previousElementSibling.value = event.target.value; });
  at("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    await busy("Sending …", async () => onMake(request()));
  });
  choices = listChoices();
  await choices;
}

async function listChoices() {
  const [effects, models] = await Promise.all([get("/v1/effects"), get("/v1/models")]);
  state.effects = effects.data;
  state.models = models.data;
  at("model").append(...state.models.map((model) => element("option", { value: model.id }, model.id)));
  at("effects").append(...state.effects.map(effectCard));
  showModel();
}

// Settings of an earlier video, to be changed.
export async function fill(earlier) {
  await choices; // earlier videos may be listed first
  at("prompt").value = earlier.prompt ?? "";
  at("reference-prompt").value = (earlier.reference_prompts ?? []).join("\n");
  at("model").value = earlier.model ?? state.models[0].id;
  at("size").value = earlier.size ?? "";
  at("profile").value = earlier.profile ?? "";
  at("strength").value = earlier.strength ?? 1;
  at("strength").previousElementSibling.value = at("strength").value;
  for (const name of NUMBERS) at(name).value = earlier[name] ?? "";
  const [reference] = earlier.references ?? [];
  if (reference?.effect) await chooseEffect(state.effects.find((effect) => [effect.id, effect.name].includes(reference.effect)));
  else if (reference?.upload) await showReference({ upload: reference.upload }, `/v1/uploads/${reference.upload}/content`);
  await showImage(earlier.image, `/v1/uploads/${earlier.image}/content`);
  window.scrollTo({ top: 0, behavior: "smooth" });
}

function request() {
  const made = { image: state.image, references: [state.reference], prompt: at("prompt").value.trim(), model: at("model").value };
  const caption = at("reference-prompt").value.trim();
  if (caption) made.reference_prompts = [caption];
  if (at("strength").value !== "1") made.strength = Number(at("strength").value);
  if (at("size").value) made.size = at("size").value;
  if (at("profile").value) made.profile = at("profile").value;
  for (const name of NUMBERS) if (at(name).value !== "") made[name] = Number(at(name).value);
  return made;
}

function effectCard(effect) {
  const card = element("button", { type: "button", className: "effect", role: "radio", ariaChecked: "false", title: effect.description, dataset: { name: effect.name } });
  video(`/v1/effects/${effect.name}/preview`, { tabIndex: -1 }).then((made) => card.prepend(made)).catch(() => {});
  card.append(element("span", {}, effect.title));
  card.addEventListener("click", () => chooseEffect(effect));
  return card;
}

async function chooseEffect(effect) {
  if (!effect) return;
  if (effect.model && state.models.some((model) => model.id === effect.model)) at("model").value = effect.model;
  showModel();
  await showReference({ effect: effect.name }, effect.parts.includes("preview") ? `/v1/effects/${effect.name}/preview` : null, effect.title);
  at("example").hidden = !effect.parts.includes("image");
}

async function chooseReference(file) {
  const sent = await upload(file);
  if (sent.kind !== "video") throw new Error("The reference must be a video. An image goes below.");
  await showReference({ upload: sent.id }, `/v1/uploads/${sent.id}/content`, `${file.name}, ${sent.seconds.toFixed(1)} s`);
}

async function showReference(reference, path, title = "") {
  state.reference = reference;
  for (const card of document.querySelectorAll(".effect")) card.setAttribute("aria-checked", card.dataset.name === reference.effect);
  at("example").hidden = true;
  const shown = path ? [await video(path)] : [];
  if (state.reference !== reference) return; // another was chosen meanwhile
  at("chosen-reference").hidden = false;
  at("chosen-reference").replaceChildren(...shown, element("span", {}, title));
  ready();
}

async function chooseImage(file) {
  const sent = await upload(file);
  if (sent.kind !== "image") throw new Error("This must be an image. A reference video goes above.");
  await showImage(sent.id, `/v1/uploads/${sent.id}/content`, file.name);
}

async function showImage(id, path, title = "") {
  state.image = id;
  const shown = element("img", { src: await media(path), alt: "The chosen image" });
  if (state.image !== id) return; // another was chosen meanwhile
  at("chosen-image").hidden = false;
  at("chosen-image").replaceChildren(shown, element("span", {}, title));
  ready();
}

async function useExample() {
  await busy("Taking the example …", async () => {
    const answer = await call(`/v1/effects/${state.reference.effect}/image`);
    await chooseImage(new File([await answer.blob()], "example.png"));
  });
}

function takeFiles(name, take) {
  const zone = at(`drop-${name}`);
  const chosen = (file) => file && busy("Uploading …", () => take(file));
  at(name).addEventListener("change", (event) => chosen(event.target.files[0]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.toggle("over", kind === "dragover");
      if (kind === "drop") chosen(event.dataTransfer.files[0]);
    });
  }
}

function showModel() {
  const model = state.models.find((each) => each.id === at("model").value);
  at("model-note").textContent = model ? [model.description, model.size, model.num_frames && `${model.num_frames} frames`].filter(Boolean).join(", ") : "";
}

function ready() {
  at("make").disabled = working > 0 || !(state.reference && state.image);
}

// Uploads may run at the same time: the button waits for all of them.
async function busy(text, work) {
  working += 1;
  at("problem").textContent = "";
  at("make").textContent = text;
  ready();
  try {
    await work();
  } catch (error) {
    at("problem").textContent = error.message;
  } finally {
    working -= 1;
    if (working === 0) at("make").textContent = MAKE;
    ready();
  }
}
