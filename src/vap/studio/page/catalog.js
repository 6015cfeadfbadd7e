// What the service offers: effects, models, experts.

import { get } from "./api.js";

export const catalog = { effects: [], models: [], experts: [] };

export async function loadCatalog() {
  const lists = await Promise.all(["effects", "models", "experts"].map((name) => get(`/v1/${name}`)));
  [catalog.effects, catalog.models, catalog.experts] = lists.map((list) => list.data);
}

export const findEffect = (name) => catalog.effects.find((effect) => [effect.id, effect.name].includes(name));
export const findModel = (name) => catalog.models.find((model) => model.id === name);

// A choice names a model; an effect without one suits every model.
export const suits = (effect, model) => !effect.model || effect.model === model;

// The model that the form has chosen.
export const chosenModel = () => findModel(document.getElementById("model").value);
