// The pictures of a cell of the confusion matrix, in a dialog; `openCell` is what the matrix calls.
"use strict";
// Pictures wait until they are near the screen; on paper they must not, so they are fetched when there is nothing else to do.
const showAllPictures = () => { for (const picture of document.querySelectorAll("img[loading=lazy]")) picture.loading = "eager"; };
addEventListener("beforeprint", showAllPictures);
addEventListener("load", () => (window.requestIdleCallback ?? setTimeout)(showAllPictures));

const openCell = (() => {
  const dialog = document.getElementById("cell-dialog");
  const source = document.getElementById("picture-data");
  if (!dialog || !source) return () => {};
  const { classes, cells } = JSON.parse(document.getElementById("matrix-data").textContent);
  let pictures = null; // read when first needed: it may be large

  const countOf = (row, column) => {
    for (let place = 0; place < cells.length; place += 3) {
      if (cells[place] === row && cells[place + 1] === column) return cells[place + 2];
    }
    return 0;
  };

  const card = ([file, confidence, address], text) => {
    const item = document.createElement("li");
    const shown = address?.startsWith("#") ? document.querySelector(`${address} img`)?.src : address;
    const picture = document.createElement(shown ? "img" : "span");
    if (shown) {
      picture.src = shown;
      picture.alt = `${file}: ${text}`;
    } else {
      picture.className = "gone";
      picture.textContent = "photo is gone";
    }
    const lines = [`${confidence} sure`, file].map((line, place) => {
      const paragraph = document.createElement("p");
      paragraph.textContent = line;
      paragraph.title = line;
      if (place) paragraph.className = "soft";
      return paragraph;
    });
    item.append(picture, ...lines);
    return item;
  };

  const open = (row, column) => {
    pictures ??= JSON.parse(source.textContent);
    const count = countOf(row, column);
    const found = pictures[`${row},${column}`] ?? [];
    const text = row === column ? `“\u2068${classes[row]}\u2069”, recognised` : `“\u2068${classes[row]}\u2069” taken for “\u2068${classes[column]}\u2069”`;
    dialog.querySelector("h2").textContent = text;
    const photos = count === 1 ? "1 photo" : `${count.toLocaleString("en")} photos`;
    const shown = found.length === 0 && count ? "; none of them was kept" : found.length < count ? `, ${found.length} of them kept` : "";
    dialog.querySelector(".cell-text").textContent = `${photos}${shown}.`;
    dialog.querySelector(".cell-pictures").replaceChildren(...found.map((one) => card(one, text)));
    dialog.showModal();
  };

  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  for (const button of document.querySelectorAll("[data-cell]")) {
    button.addEventListener("click", () => open(...button.dataset.cell.split(",").map(Number)));
  }
  return open;
})();
