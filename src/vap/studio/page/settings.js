// The settings of a request: what is empty is the model's or the effect's own choice.

import { element } from "./api.js";
import { catalog, chosenModel, findModel } from "./catalog.js";

const at = (id) => document.getElementById(id);
const OWN = "own";
// Fields with a number: the least, the most, and whether it must be whole.
const NUMBERS = {
  num_inference_steps: { name: "Steps", least: 1, most: 1000, whole: true },
  reference_guidance_scale: { name: "Reference guidance", least: 0, most: 100 },
  seed: { name: "The seed", least: 0, most: Number.MAX_SAFE_INTEGER, whole: true },
};
let standard = 1; // strength of what was chosen

export function setUpSettings(onChange) {
  at("settings").addEventListener("input", (event) => {
    if (event.target === at("strength")) showStrength();
    if (event.target === at("model")) showModel();
    if (event.target === at("size")) startOwnSize();
    showOwnSize();
    onChange();
  });
  // While somebody types, a number is not wrong yet.
  at("settings").addEventListener("change", () => problems());
}

export function showModels() {
  const before = at("model").value;
  at("model").replaceChildren(...catalog.models.map((model) => element("option", { value: model.id }, model.id)));
  if (catalog.models.some((model) => model.id === before)) at("model").value = before;
  showModel();
}

export function chooseModel(name) {
  if (!name || at("model").value === name || !catalog.models.some((model) => model.id === name)) return;
  at("model").value = name;
  showModel();
  at("model").dispatchEvent(new Event("change"));
}

// What the chosen effects recommend takes the place of the model's own choice.
export function showRecommended(recommended) {
  const untouched = Number(at("strength").value) === standard;
  standard = recommended.strength ?? 1;
  if (untouched) at("strength").value = standard;
  showStrength();
  const defaults = chosenModel()?.defaults ?? {};
  for (const name of ["num_inference_steps", "reference_guidance_scale"]) {
    at(name).placeholder = recommended[name] ?? defaults[name] ?? "the model's own";
  }
}

function showStrength() {
  at("strength-value").textContent = Number(at("strength").value).toFixed(2);
}

function showModel() {
  const model = chosenModel();
  if (!model) return;
  const length = model.num_frames && model.fps ? `${(model.num_frames / model.fps).toFixed(1)} s at ${model.fps} frames a second` : "";
  at("model-note").textContent = [model.description, model.size, length].filter(Boolean).join(", ");
  const experts = catalog.experts.filter((expert) => expert.model === model.id);
  at("expert-row").hidden = experts.length < 2;
  at("expert").replaceChildren(...experts.map(({ id }) => element("option", { value: id === model.id ? "" : id }, id === model.id ? "the model's own" : id)));
  const before = at("size").value;
  at("size").replaceChildren(...sizesOf(model).map(([value, text]) => element("option", { value }, text)));
  if ([...at("size").options].some((option) => option.value === before)) at("size").value = before;
  showOwnSize();
}

// Sizes of about as many pixels as the model's own, which it was trained with.
function sizesOf(model) {
  const sizes = [["", model.size ? `The model's own: ${model.size}` : "The model's own"]];
  if (model.size) {
    const [width, height] = model.size.split("x").map(Number);
    const step = model.size_multiple ?? 16;
    const side = Math.max(step, Math.round(Math.sqrt(width * height) / step) * step);
    const [long, short] = [Math.max(width, height), Math.min(width, height)];
    const presets = { Landscape: `${long}x${short}`, Portrait: `${short}x${long}`, Square: `${side}x${side}` };
    for (const [name, size] of Object.entries(presets)) if (size !== model.size) sizes.push([size, `${name}: ${size}`]);
  }
  return [...sizes, [OWN, "Another size …"]];
}

// An own size starts with the model's.
function startOwnSize() {
  if (at("size").value === OWN && !at("width").value) [at("width").value, at("height").value] = (chosenModel()?.size ?? "x").split("x");
}

function showOwnSize() {
  at("own-size").hidden = at("size").value !== OWN;
}

// What is wrong, by field; each is told beside its field.
export function problems() {
  const found = new Map();
  for (const [id, rule] of Object.entries(NUMBERS)) found.set(id, numberProblem(at(id), rule));
  const step = chosenModel()?.size_multiple ?? 1;
  for (const [id, name] of [["width", "The width"], ["height", "The height"]]) {
    found.set(id, at("size").value === OWN ? sideProblem(at(id), name, step) : "");
  }
  for (const [id, text] of found) {
    at(id).setAttribute("aria-invalid", text !== "");
    at(`${id}-problem`).textContent = text;
  }
  return [...found].filter(([, text]) => text).map(([id]) => at(id));
}

function numberProblem(input, { name, least, most, whole }) {
  if (input.value === "" && !input.validity.badInput) return "";
  const value = Number(input.value);
  const right = input.value !== "" && value >= least && value <= most && (!whole || Number.isInteger(value));
  return right ? "" : `${name} must be a ${whole ? "whole number" : "number"} from ${least} to ${most}, or empty.`;
}

function sideProblem(input, name, step) {
  const value = Number(input.value);
  if (Number.isInteger(value) && value >= step && value <= 9999 && value % step === 0) return "";
  const nearest = Math.max(step, Math.round(value / step) * step) || step;
  return `${name} must be a multiple of ${step}, such as ${nearest}.`;
}

export function settingFields() {
  const fields = { model: at("model").value };
  if (Number(at("strength").value) !== standard) fields.strength = Number(at("strength").value);
  const size = at("size").value === OWN ? `${at("width").value}x${at("height").value}` : at("size").value;
  if (size) fields.size = size;
  for (const id of ["profile", "expert"]) if (at(id).value) fields[id] = at(id).value;
  for (const id of Object.keys(NUMBERS)) if (at(id).value !== "") fields[id] = Number(at(id).value);
  if (at("check_reference").checked) fields.check_reference = true;
  return fields;
}

export function fillSettings(earlier) {
  at("model").value = (findModel(earlier.model) ?? catalog.models[0]).id;
  showModel();
  const sizes = [...at("size").options].map((option) => option.value);
  const size = earlier.size ?? "";
  const preset = size === chosenModel()?.size ? "" : size;
  at("size").value = sizes.includes(preset) ? preset : OWN;
  if (at("size").value === OWN) [at("width").value, at("height").value] = size.split("x");
  showOwnSize();
  at("profile").value = earlier.profile ?? "";
  at("expert").value = earlier.expert === earlier.model ? "" : earlier.expert ?? "";
  at("strength").value = earlier.strength ?? standard;
  showStrength();
  at("check_reference").checked = earlier.check_reference ?? false;
  for (const id of Object.keys(NUMBERS)) at(id).value = earlier[id] ?? "";
  problems();
}
