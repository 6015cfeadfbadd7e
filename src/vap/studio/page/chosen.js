// What was chosen for one place of the form: one thing, or several where the box says so.

import { element } from "./api.js";
import { picture } from "./picture.js";

// An item has a key (the same thing is not chosen twice), a title, a soft note, the path of what
// to show, whether that is an image, and perhaps an editor, an element with more to set.
export function chosenList({ list, box, input, onChange }) {
  let items = [];
  const cards = new Map();

  box.addEventListener("change", () => {
    if (!box.checked) set(items.slice(-1));
  });

  function add(item) {
    if (items.some((each) => each.key === item.key)) return;
    set([...(box.checked ? items : []), item]);
  }

  function remove(key) {
    const focused = list.contains(document.activeElement);
    set(items.filter((each) => each.key !== key));
    if (focused) (list.querySelector("button") ?? input).focus(); // the button is gone
  }

  function set(wanted) {
    items = wanted;
    if (items.length > 1) box.checked = true;
    for (const [item, card] of cards) {
      if (items.includes(item)) continue;
      card.remove();
      cards.delete(item);
    }
    for (const item of items.filter((each) => !cards.has(each))) {
      cards.set(item, cardOf(item, remove));
      list.append(cards.get(item));
    }
    list.hidden = items.length === 0;
    box.parentElement.hidden = items.length === 0;
    onChange();
  }

  return { add, remove, set, has: (key) => items.some((each) => each.key === key), get items() { return items; } };
}

function cardOf(item, remove) {
  const card = element("li", { dataset: { key: item.key } });
  const text = element("div", { className: "text" }, element("b", {}, item.title));
  if (item.note) text.append(element("span", { className: "soft" }, item.note));
  const away = element("button", { type: "button", className: "small" }, "Remove");
  away.setAttribute("aria-label", `Remove ${item.title}`);
  away.addEventListener("click", () => remove(item.key));
  const stage = element("div", { className: "stage" });
  if (item.path) picture(item).then((shown) => stage.append(shown)).catch((error) => stage.append(error.message));
  card.append(stage, text, away);
  if (item.editor) card.append(item.editor(stage));
  return card;
}
