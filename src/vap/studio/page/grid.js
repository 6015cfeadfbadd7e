// Videos of one group: references down, images across, all in sync.

import { actions, button, confirmed, download, ended, remove, row } from "./actions.js";
import { element, media, post } from "./api.js";
import { reason, searchText, showProgress, waiting } from "./card.js";
import { findModel } from "./catalog.js";
import { enlarge } from "./pair.js";
import { player } from "./player.js";
import { referenceFigures, still, titleOf } from "./sources.js";

const rowOf = (job) => JSON.stringify(job.request.references ?? []);
const columnOf = (job) => job.request.image;

export function grid(first, videos) {
  const made = element("article", { className: "card", dataset: { group: first.request.group } });
  const jobs = new Map();
  const cells = new Map(); // by job
  let shape = "";
  let drawn = Promise.resolve();

  // Several jobs may end while the table is built: one after the other.
  const draw = (job) => {
    jobs.set(job.id, job);
    made.dataset.text = [...jobs.values()].map(searchText).join(" ");
    drawn = drawn.then(async () => {
      const next = [...jobs.values()].map((each) => each.id + (ended(each) ? each.status : "")).sort().join();
      if (next === shape) {
        const now = jobs.get(job.id);
        if (now && !ended(now)) showProgress(cells.get(now.id), now);
        return;
      }
      shape = next;
      await build();
    });
    return drawn;
  };

  const without = (id) => {
    jobs.delete(id);
    shape = "";
    if (!jobs.size) made.remove();
    else drawn = drawn.then(build);
  };

  async function build() {
    const all = [...jobs.values()].sort((a, b) => a.created_at - b.created_at || (a.id < b.id ? -1 : 1));
    const rows = [...new Set(all.map(rowOf))];
    const columns = [...new Set(all.map(columnOf))];
    const parts = [];
    const heads = await Promise.all(rows.map((each) => referenceFigures(JSON.parse(each))));
    for (const head of heads.flat()) if (head.part) parts.push(head.part);
    const table = element("table", {}, element("thead", {}, element("tr", {}, element("td"), ...await Promise.all(columns.map(imageHead)))));
    const body = element("tbody");
    for (const [index, each] of rows.entries()) {
      const line = element("tr", {}, element("th", { scope: "row" }, ...heads[index].map((head) => head.figure)));
      for (const column of columns) line.append(await cell(all.filter((job) => rowOf(job) === each && columnOf(job) === column), parts));
      body.append(line);
    }
    table.append(body);
    const done = all.filter((job) => job.status === "completed");
    const open = all.filter((job) => !ended(job));
    const bar = done.length && parts.length ? [player(parts, findModel(done[0].model)?.num_frames)] : [];
    const count = all.length === 1 ? "1 video" : `${all.length} videos`;
    const top = element("div", { className: "top" }, element("h3", {}, rows.length * columns.length > 1 ? "Grid" : titleOf(all[0])), element("span", { className: "soft" }, `${count}, ${done.length} done`));
    made.replaceChildren(top, element("div", { className: "grid", tabIndex: 0, role: "region", ariaLabel: "Videos of the grid" }, table), ...bar, groupActions(all, done, open));
  }

  async function imageHead(id) {
    try {
      return element("th", { scope: "col" }, element("img", { src: await media(`/v1/uploads/${id}/content`), alt: "Image of this column" }));
    } catch {
      return element("th", { scope: "col", className: "soft" }, "The image was deleted.");
    }
  }

  async function cell(found, parts) {
    const place = element("td");
    for (const job of found) {
      const one = element("div", { className: "cell", dataset: { id: job.id } });
      cells.set(job.id, one);
      if (job.status === "completed") {
        one.append(await result(job, parts));
      } else if (ended(job)) {
        one.append(reason(job), row(button("Try again", async () => {
          const next = await post(`/v1/videos/${job.id}/remix`, { seed: job.seed, group: job.request.group });
          await remove(job, videos);
          videos.add(next);
        }, { className: "small" })));
      } else {
        one.append(...waiting(job));
        showProgress(one, job);
      }
      place.append(one);
    }
    return place;
  }

  async function result(job, parts) {
    try {
      const video = await still(`/v1/videos/${job.id}/content`, "result");
      parts.push({ video });
      return element("button", { type: "button", className: "video", ariaLabel: "Larger, with all that can be done", onclick: () => open(job) }, video);
    } catch (error) {
      return element("p", { className: "failed" }, error.message); // the others are shown all the same
    }
  }

  async function open(job) {
    const viewer = await enlarge(job);
    const closing = (act) => (...given) => {
      viewer.close();
      return act(...given);
    };
    const { add, drop, reuse } = videos;
    viewer.querySelector("div").append(actions(job, { add: closing(add), drop: closing(drop), reuse: closing(reuse) }));
  }

  const groupActions = (all, done, open) => row(
    ...(open.length ? [button(open.length > 1 ? "Cancel all" : "Cancel", () => Promise.all(open.map((job) => post(`/v1/videos/${job.id}/cancel`))))] : []),
    ...(done.length ? [button(done.length > 1 ? "Download all" : "Download", async () => { for (const job of done) await download(job); })] : []),
    ...(open.length ? [] : [button("Delete all", () => confirmed(`Delete ${all.length} videos?`, async () => { for (const job of all) await remove(job, videos); }), { className: "plain" })]),
  );

  return { element: made, draw, without };
}
