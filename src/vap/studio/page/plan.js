// Which videos a form asks for: one, or a grid of one for each reference (or all) and image.

// References of one video: each alone where a grid is asked for, otherwise all together.
const rows = (references, together) => (together || references.length < 2 ? [references] : references.map((each) => [each]));

export const countVideos = (references, images, together) => rows(references, together).length * images.length;

// Requests of all the videos. Those of a grid share a group and a seed, so that they differ by
// reference and image alone.
export function planVideos({ references, images, together, settings, captions }) {
  const cells = rows(references, together).flatMap((row) => images.map((image) => ({ row, image })));
  const shared = cells.length > 1 ? { group: randomName(), seed: settings.seed ?? randomSeed() } : {};
  return cells.map(({ row, image }) => ({
    image: image.id,
    references: row.map((each) => each.send()),
    ...captions(row),
    ...settings,
    ...shared,
  }));
}

const randomSeed = () => crypto.getRandomValues(new Uint32Array(1))[0];

const randomName = () => `grid-${Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
