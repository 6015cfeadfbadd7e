// The effects to pick from: those that suit the model first, found by words and categories.

import { element, upload } from "./api.js";
import { catalog, chosenModel, loadCatalog, suits } from "./catalog.js";
import { takeFiles } from "./drop.js";
import { picture } from "./picture.js";
import { hasWords } from "./words.js";

const MANY = 8; // effects; above, there are categories to choose from
const VERY_MANY = 16; // above, they are found by words, too
const at = (id) => document.getElementById(id);
const tiles = new Map(); // a tile has a video, which is not loaded again
let category = "";
let pick = () => {};
let shown = () => {};

export function setUpEffects({ busy, onPick, onShown }) {
  [pick, shown] = [onPick, onShown];
  at("find-effect").addEventListener("input", () => showEffects());
  at("model").addEventListener("change", () => showEffects());
  takeFiles(at("effects-area"), at("install-effect"), (files) => busy("Installing …", () => installEffects(files), "effects-problem"));
}

export async function installEffects(files) {
  for (const file of files) await install(file);
  shown();
}

async function install(file) {
  at("effects-note").textContent = "";
  const made = await upload(file, "/v1/effects");
  await loadCatalog();
  [at("find-effect").value, category] = ["", ""];
  showEffects();
  at("effects-note").textContent = `“${made.title}” is installed.`;
  tiles.get(made.name).scrollIntoView({ block: "nearest" });
}

export function showEffects() {
  at("find").hidden = catalog.effects.length <= MANY;
  at("find-effect").hidden = catalog.effects.length <= VERY_MANY;
  showCategories();
  const model = chosenModel()?.id;
  const found = catalog.effects.filter(fits);
  const suiting = found.filter((effect) => suits(effect, model));
  const others = found.filter((effect) => !suits(effect, model));
  const parts = suiting.map(tileOf);
  if (others.length) parts.push(element("p", { className: "soft others" }, `For other models than ${model}:`), ...others.map(tileOf));
  at("effects").replaceChildren(...parts);
  at("no-effect").hidden = found.length > 0;
}

function fits(effect) {
  const text = [effect.id, effect.title, effect.description, effect.category, ...effect.tags].join(" ");
  return (!category || effect.category === category) && hasWords(text, at("find-effect").value);
}

function showCategories() {
  const names = [...new Set(catalog.effects.map((effect) => effect.category).filter(Boolean))].sort();
  if (at("categories").childElementCount === names.length + 1) return mark();
  at("categories").replaceChildren(...["", ...names].map((name) => {
    const made = element("button", { type: "button", className: "chip", dataset: { name } }, name || "all");
    made.addEventListener("click", () => {
      category = name;
      showEffects();
    });
    return made;
  }));
  mark();
}

function mark() {
  for (const chip of at("categories").children) chip.setAttribute("aria-pressed", chip.dataset.name === category);
}

function tileOf(effect) {
  if (!tiles.has(effect.name)) tiles.set(effect.name, makeTile(effect));
  return tiles.get(effect.name);
}

function makeTile(effect) {
  const tile = element("button", { type: "button", className: "effect", title: effect.description, ariaPressed: "false", dataset: { name: effect.name } });
  const stage = element("span", { className: "stage", ariaHidden: "true" });
  const path = `/v1/effects/${effect.name}/preview`;
  picture({ path, title: "" }, { controls: false }).then((made) => stage.append(made)).catch(() => {});
  tile.append(stage, element("span", {}, effect.title));
  tile.addEventListener("click", () => pick(effect));
  return tile;
}
