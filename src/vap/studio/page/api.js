// The service's API, with the key where one is needed.

const KEY = "vap-api-key";

export async function call(path, { method = "GET", body, json } = {}) {
  const headers = {};
  const key = localStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (json !== undefined) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(json);
  }
  const answer = await fetch(path, { method, headers, body }).catch(() => {
    throw new Error("The service cannot be reached. Is it running?");
  });
  if (answer.status === 401) {
    await askForKey();
    return call(path, { method, body, json });
  }
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

export const get = async (path) => (await call(path)).json();
export const post = async (path, json) => (await call(path, { method: "POST", json })).json();

async function problemOf(answer) {
  try {
    const { message, code } = (await answer.json()).error;
    return Object.assign(new Error(message), { code });
  } catch {
    return new Error(`The service answered ${answer.status} ${answer.statusText}.`);
  }
}

let asking = null;

function askForKey() {
  asking ??= new Promise((done) => {
    const dialog = document.getElementById("key-dialog");
    dialog.addEventListener("close", () => {
      localStorage.setItem(KEY, document.getElementById("key").value.trim());
      asking = null;
      done();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

export async function upload(file, path = "/v1/uploads") {
  const body = new FormData();
  body.append("file", file);
  return (await call(path, { method: "POST", body })).json();
}

const urls = new Map();

// Media as an address of this page: a <video> cannot send a key.
export async function media(path) {
  if (!urls.has(path)) {
    urls.set(path, call(path).then((answer) => answer.blob()).then((blob) => URL.createObjectURL(blob)));
    urls.get(path).catch(() => urls.delete(path));
  }
  return urls.get(path);
}

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  const { dataset, ...rest } = properties;
  for (const [name, value] of Object.entries(rest)) {
    if (name.startsWith("aria") || name === "role") made.setAttribute(name.replace("aria", "aria-").toLowerCase(), value);
    else made[name] = value;
  }
  Object.assign(made.dataset, dataset);
  made.append(...children);
  return made;
}

// Who asks for less motion starts videos by the controls.
export const calm = matchMedia("(prefers-reduced-motion: reduce)");

export async function video(path, properties = {}) {
  const motion = calm.matches ? { controls: true } : { autoplay: true };
  const made = element("video", { muted: true, loop: true, playsInline: true, ...motion, ...properties });
  made.src = await media(path);
  return made;
}
