// What to make: references, images, captions, settings; and the button that sends it.

import { call } from "./api.js";
import { captionFields, fillCaptions, setUpCaptions, showCaptions } from "./captions.js";
import { findModel, loadCatalog } from "./catalog.js";
import { saveDraft, savedDraft } from "./draft.js";
import { takeFiles } from "./drop.js";
import { installEffects, setUpEffects, showEffects } from "./effects.js";
import { estimateSoon } from "./estimate.js";
import { addImages, fillImages, images, setUpImages } from "./images.js";
import { countVideos, planVideos } from "./plan.js";
import { addVideos, exampleOf, fillReferences, mark, pickEffect, recommended, references, setUpReferences } from "./references.js";
import { chooseModel, fillSettings, problems, setUpSettings, settingFields, showModels, showRecommended } from "./settings.js";

const MOST = 100; // videos of a grid
const at = (id) => document.getElementById(id);
let working = 0;
let begun = false; // somebody has chosen something
let listed = null; // once the service has listed what it offers

export async function setUpForm(onMake) {
  const draft = savedDraft();
  // Before anything is awaited: a file may be chosen at once.
  setUpReferences(show);
  setUpImages(show);
  setUpSettings(show);
  setUpCaptions({ references, images, model: () => at("model").value, busy });
  setUpEffects({ busy, onPick: pick, onShown: mark });
  takeFiles(at("drop-reference"), at("reference"), (files) => busy("Uploading …", () => addReferences(files), "reference-problem"));
  takeFiles(at("drop-image"), at("image"), (files) => busy("Uploading …", () => addImages(files), "image-problem"));
  at("together").addEventListener("change", show);
  at("example").addEventListener("click", useExample);
  at("form").addEventListener("submit", (event) => {
    event.preventDefault();
    make(onMake);
  });
  at("form").addEventListener("input", save);
  listed = loadCatalog().then(async () => {
    showModels();
    showEffects();
    if (draft && !begun) await put(draft);
    else show();
  });
  await listed;
}

// Put an earlier request into the form, to be changed.
export async function fill(earlier) {
  await listed; // earlier videos may be listed first
  await busy("Taking the settings …", async () => {
    const there = await put({ ...earlier, images: [earlier.image] });
    if (!there) throw new Error("Not all files of this video are here any more. Choose the others again.");
  });
  at("form").scrollIntoView({ block: "start" });
  at("form").focus({ preventScroll: true });
}

// Whether all that it names is still there.
async function put(earlier) {
  fillSettings(earlier);
  const there = await Promise.all([fillReferences(earlier.references ?? []), fillImages(earlier.images)]);
  fillSettings(earlier); // the strength of an effect is known now
  fillCaptions(earlier, references());
  if (earlier.grid) at("grid").checked = true;
  show();
  return there.every(Boolean);
}

function save() {
  const chosen = { references: references().map((item) => item.send()), images: images().map((item) => item.id) };
  saveDraft({ ...settingFields(), ...captionFields(references()), ...chosen, grid: !together() });
}

// Effects are references, too.
async function addReferences(files) {
  const effects = files.filter((file) => file.name.toLowerCase().endsWith(".zip"));
  const videos = files.filter((file) => !effects.includes(file));
  if (effects.length) await installEffects(effects);
  if (videos.length) await addVideos(videos);
}

function pick(effect) {
  begun = true;
  if (findModel(effect.model)) chooseModel(effect.model);
  pickEffect(effect);
}

const together = () => !at("grid").checked;

function requests() {
  return planVideos({ references: references(), images: images(), together: together(), settings: settingFields(), captions: captionFields });
}

async function make(onMake) {
  const [wrong] = problems();
  if (wrong) {
    at("settings").open = true;
    wrong.focus();
    return;
  }
  await busy("Sending …", async () => {
    const all = requests();
    for (const [sent, request] of all.entries()) {
      try {
        await onMake(request);
      } catch (error) {
        throw sent === 0 ? error : new Error(`${sent} of ${all.length} videos were sent. ${error.message}`);
      }
    }
  });
}

// Everything that depends on what is chosen.
function show() {
  const [chosen, stills] = [references(), images()];
  at("together").hidden = chosen.length < 2;
  at("example").hidden = !exampleOf();
  showRecommended(recommended());
  showCaptions(chosen, stills);
  showButton();
  save();
  estimateSoon(() => {
    if (!references().length || problems().length) return null;
    const one = images().length ? {} : { images: [{ id: "" }] };
    const [request] = planVideos({ references: references(), images: images(), together: together(), settings: settingFields(), captions: captionFields, ...one });
    return { request, count: countVideos(references(), images(), together()) };
  });
}

function showButton() {
  const count = countVideos(references(), images(), together());
  const missing = whatIsMissing(count);
  at("next").textContent = missing || (count > 1 ? `A grid: this makes ${count} videos with the same seed.` : "");
  at("make").disabled = working > 0 || missing !== "";
  if (working === 0) at("make").textContent = count > 1 ? `Make ${count} videos` : "Make the video";
}

function whatIsMissing(count) {
  if (!references().length) return "Pick an effect, or drop a reference video.";
  if (!images().length) return "Now drop an image.";
  if (count > MOST) return `This would make ${count} videos; at most ${MOST} can be sent at once. Remove some references or images.`;
  const encoded = together() && references().length > 1 && references().find((item) => item.encoded);
  return encoded ? `“${encoded.title}” is encoded, and cannot be combined with others in one video. Choose the grid, or remove it.` : "";
}

async function useExample() {
  await busy("Taking the example …", async () => {
    const effect = exampleOf();
    const answer = await call(`/v1/effects/${effect.name}/image`);
    await addImages([new File([await answer.blob()], `${effect.title} example.png`)]);
  }, "image-problem");
}

// Uploads may run at the same time: the button waits for all of them.
async function busy(text, work, place = "problem") {
  begun = true;
  working += 1;
  at(place).textContent = "";
  at("make").textContent = text;
  showButton();
  try {
    await work();
  } catch (error) {
    at(place).textContent = error.message; // beside what caused it
  } finally {
    working -= 1;
    showButton();
  }
}
