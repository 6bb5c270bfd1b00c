// The photos of a cell of the confusion matrix, in a dialog; the matrix calls `openCell`.
"use strict";
// Photos are decoded when they are near the screen; for printing, the others are decoded when the page is idle.
const showAllImages = () => { for (const image of document.querySelectorAll("img[loading=lazy]")) image.loading = "eager"; };
addEventListener("beforeprint", showAllImages);
addEventListener("load", () => (window.requestIdleCallback ?? setTimeout)(showAllImages));

const openCell = (() => {
  const dialog = document.getElementById("cell-dialog");
  const source = document.getElementById("image-data");
  if (!dialog || !source) return () => {};
  const { classes, cells } = JSON.parse(document.getElementById("matrix-data").textContent);
  let images = null; // read when first needed: it may be large

  const countOf = (row, column) => {
    for (let index = 0; index < cells.length; index += 3) {
      if (cells[index] === row && cells[index + 1] === column) return cells[index + 2];
    }
    return 0;
  };

  const card = ([file, confidence, address], text) => {
    const item = document.createElement("li");
    const shown = address?.startsWith("#") ? document.querySelector(`${address} img`)?.src : address;
    const image = document.createElement(shown ? "img" : "span");
    if (shown) {
      image.src = shown;
      image.alt = `${file}: ${text}`;
    } else {
      image.className = "gone";
      image.textContent = "photo is gone";
    }
    const lines = [`confidence ${confidence}`, file].map((line, index) => {
      const paragraph = document.createElement("p");
      paragraph.textContent = line;
      paragraph.title = line;
      if (index) paragraph.className = "soft";
      return paragraph;
    });
    item.append(image, ...lines);
    return item;
  };

  const open = (row, column) => {
    images ??= JSON.parse(source.textContent);
    const count = countOf(row, column);
    const found = images[`${row},${column}`] ?? [];
    const text = row === column ? `“\u2068${classes[row]}\u2069”, predicted correctly` : `“\u2068${classes[row]}\u2069” predicted as “\u2068${classes[column]}\u2069”`;
    dialog.querySelector("h2").textContent = text;
    const photos = count === 1 ? "1 photo" : `${count.toLocaleString("en")} photos`;
    const shown = found.length === 0 && count ? "; none of them was kept" : found.length < count ? `, ${found.length} of them kept` : "";
    dialog.querySelector(".cell-text").textContent = `${photos}${shown}.`;
    dialog.querySelector(".cell-images").replaceChildren(...found.map((one) => card(one, text)));
    dialog.showModal();
  };

  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  for (const button of document.querySelectorAll("[data-cell]")) {
    button.addEventListener("click", () => open(...button.dataset.cell.split(",").map(Number)));
  }
  return open;
})();
