// Sorting and searching tables, and copying commands.
"use strict";
(() => {
  const status = document.getElementById("status");

  const valueOf = (row, column, isText) => {
    const value = row.cells[column]?.dataset.value;
    if (value === undefined) return null; // not defined: sorted last, whatever the direction
    return isText ? value : Number(value);
  };

  const sort = (table, header, direction) => {
    const column = header.cellIndex;
    const isText = header.querySelector(".sort").dataset.kind === "text";
    const sign = direction === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [valueOf(row, column, isText), row]);
    const order = new Intl.Collator(undefined, { numeric: true });
    rows.sort(([first], [second]) => {
      if (first === null || second === null) return (first === null) - (second === null);
      return sign * (isText ? order.compare(first, second) : first - second);
    });
    body.append(...rows.map(([, row]) => row));
    for (const other of table.tHead.rows[0].cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", direction);
    status.textContent = `sorted by ${header.textContent.trim()}, ${direction}`;
  };

  for (const button of document.querySelectorAll("table.sortable .sort")) {
    button.addEventListener("click", () => {
      const header = button.closest("th");
      const now = header.getAttribute("aria-sort");
      const first = button.dataset.kind === "text" ? "ascending" : "descending";
      const other = first === "ascending" ? "descending" : "ascending";
      sort(header.closest("table"), header, now === first ? other : first);
    });
  }

  for (const input of document.querySelectorAll("[data-search]")) {
    const target = document.getElementById(input.dataset.search);
    const count = input.closest(".search").querySelector(".search-count");
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLocaleLowerCase();
      let found = 0;
      for (const row of target.querySelectorAll("tbody tr")) {
        row.hidden = wanted !== "" && !row.textContent.toLocaleLowerCase().includes(wanted);
        found += !row.hidden;
      }
      for (const group of target.querySelectorAll(".setting-group")) group.hidden = !group.querySelector("tr:not([hidden])");
      count.textContent = wanted === "" ? "" : `${found} found`;
    });
  }

  const copyText = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch { // a page that was opened as a file may not use the clipboard in every browser
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "unseen";
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  };

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const done = await copyText(button.dataset.copy);
      button.focus();
      button.textContent = done ? "Copied" : "Press Ctrl+C";
      status.textContent = done ? "copied" : "could not be copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
  }
})();
