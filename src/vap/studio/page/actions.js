// What can be done with a video.

import { call, element, media, post, upload } from "./api.js";
import { addVideos } from "./references.js";

export const ended = (job) => ["completed", "failed", "canceled"].includes(job.status);

export const row = (...buttons) => element("div", { className: "actions" }, ...buttons);

export function button(text, act, properties = {}) {
  const made = element("button", { type: "button", ...properties }, text);
  made.addEventListener("click", async () => {
    made.disabled = true;
    made.parentElement.querySelector(".failed")?.remove();
    try {
      await act();
    } catch (error) {
      made.after(element("p", { className: "failed", role: "alert" }, error.message));
    } finally {
      made.disabled = false;
    }
  });
  return made;
}

// Buttons of a video; videos tells what the list does: add, drop, reuse.
export function actions(job, videos) {
  const again = (fields) => async () => videos.add(await post(`/v1/videos/${job.id}/remix`, fields));
  const away = button("Delete", () => confirmed("Delete this video?", () => remove(job, videos)), { className: "plain" });
  const change = button("Change settings", () => videos.reuse(job.request));
  if (job.status !== "completed") {
    return row(button("Try again", again({ seed: job.seed })), change, away);
  }
  const asked = job.request.references?.length > 0 && !job.reference_use;
  return row(
    button("Download", () => download(job)),
    button("Another seed", again({})),
    button("Four variations", async () => {
      const group = `variations-${job.id}-${Date.now()}`;
      for (let count = 0; count < 4; count += 1) videos.add(await post(`/v1/videos/${job.id}/remix`, { group }));
    }),
    change,
    element("details", { className: "more" }, element("summary", {}, "More"), row(
      ...(asked ? [button("Is my reference used?", again({ seed: job.seed, check_reference: true }))] : []),
      button("Same again", again({ seed: job.seed })),
      button("Use as a reference", () => useAsReference(job)),
      away,
    )),
  );
}

export async function remove(job, videos) {
  await call(`/v1/videos/${job.id}`, { method: "DELETE" });
  videos.drop(job.id);
}

export async function download(job) {
  element("a", { href: await media(`/v1/videos/${job.id}/content`), download: `${job.id}.mp4` }).click();
}

async function useAsReference(job) {
  const blob = await (await call(`/v1/videos/${job.id}/content`)).blob();
  await addVideos([new File([blob], `${job.id}.mp4`, { type: "video/mp4" })]);
  document.getElementById("form").scrollIntoView({ block: "start" });
}

export async function confirmed(question, act) {
  const dialog = document.getElementById("confirm");
  dialog.querySelector("p").textContent = question;
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  if (dialog.returnValue === "yes") await act();
}
