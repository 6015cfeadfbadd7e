// Files that are dropped on an area, or chosen with its input.

// A file that misses its area would take the place of the page.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());

export function takeFiles(area, input, take) {
  const all = (files) => {
    if (files.length) take([...files]);
  };
  input.addEventListener("change", () => {
    all(input.files);
    input.value = ""; // the same file may be chosen again
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    area.addEventListener(kind, (event) => {
      event.preventDefault();
      area.classList.toggle("over", kind === "dragover");
      if (kind === "drop") all(event.dataTransfer.files);
    });
  }
}
