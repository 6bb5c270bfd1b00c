// The confusion matrix on a canvas: only the cells that are not empty are drawn, so a thousand classes are no problem.
"use strict";
(() => {
  const canvas = document.getElementById("matrix-canvas");
  const source = document.getElementById("matrix-data");
  if (!canvas || !source) return;
  const { classes, cells, totals: photos, block, strongest, weakest } = JSON.parse(source.textContent);
  const stage = canvas.parentElement;
  const status = document.getElementById("matrix-status");
  const pen = canvas.getContext("2d");
  const rows = new Map(); // true class → Map(predicted class → count)
  const totals = new Map();
  for (let index = 0; index < cells.length; index += 3) {
    const [row, column, count] = [cells[index], cells[index + 1], cells[index + 2]];
    if (!rows.has(row)) rows.set(row, new Map());
    rows.get(row).set(column, count);
  }
  photos.forEach((number, row) => totals.set(row, number)); // of all classes, also where the page has some of them only

  const state = { order: block ?? classes.map((_, index) => index), shares: false, size: 20, x: 0, y: 0, at: null };
  let margin = { left: 120, top: 90 };
  let wide = 0, high = 0, colours = {}, positions = new Map();

  const isolated = (name) => `“\u2068${name}\u2069”`; // a name that runs from right to left turns nothing else
  const count = (row, column) => rows.get(row)?.get(column) ?? 0;
  const fitSize = () => Math.min((wide - margin.left) / state.order.length, (high - margin.top) / state.order.length);
  const clamp = (value, low, top) => Math.min(Math.max(value, low), Math.max(low, top));

  const keepInside = () => {
    const side = state.size * state.order.length;
    state.x = clamp(state.x, 0, side - (wide - margin.left));
    state.y = clamp(state.y, 0, side - (high - margin.top));
  };

  const readColours = () => {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ink", "soft", "line", "surface", "blue", "orange", "line-strong"]) colours[name] = style.getPropertyValue(`--${name}`).trim();
    colours.font = style.getPropertyValue("--sans");
  };

  const shorten = (text, room) => {
    if (pen.measureText(text).width <= room) return text;
    let end = Math.min(text.length, 60);
    while (end > 1 && pen.measureText(`${text.slice(0, end)}…`).width > room) end -= 1;
    return `${text.slice(0, end)}…`;
  };

  const measure = () => {
    const box = stage.getBoundingClientRect();
    [wide, high] = [box.width, box.height];
    const scale = devicePixelRatio || 1;
    canvas.width = Math.round(wide * scale);
    canvas.height = Math.round(high * scale);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.font = `12px ${colours.font}`;
    const longest = Math.max(...state.order.slice(0, 200).map((one) => pen.measureText(classes[one].slice(0, 40)).width));
    const room = clamp(longest + 14, 40, Math.min(150, wide * 0.3));
    margin = { left: room, top: Math.min(room, high * 0.28) + 4 };
  };

  const drawCell = (row, column, x, y) => {
    const number = count(row, column);
    if (!number) return;
    const share = number / totals.get(row);
    pen.globalAlpha = strongest * (weakest + (1 - weakest) * Math.sqrt(share)) * (state.size < 6 ? 1.6 : 1);
    pen.fillStyle = row === column ? colours.blue : colours.orange;
    const side = Math.max(state.size, 1.5);
    pen.fillRect(x, y, side, side);
    pen.globalAlpha = 1;
    const text = state.shares ? `${Math.round(100 * share)}` : `${number}`;
    if (state.size < 17 || pen.measureText(text).width > state.size - 3) return;
    pen.fillStyle = colours.ink;
    pen.textAlign = "center";
    pen.fillText(text, x + state.size / 2, y + state.size / 2);
  };

  const drawCells = (first, last) => {
    for (let down = first.y; down < last.y; down += 1) {
      const row = state.order[down];
      for (const column of rows.get(row)?.keys() ?? []) {
        const across = positions.get(column);
        if (across === undefined || across < first.x || across >= last.x) continue;
        drawCell(row, column, margin.left + across * state.size - state.x, margin.top + down * state.size - state.y);
      }
    }
  };

  const drawGrid = (first, last) => {
    if (state.size < 7) return;
    pen.strokeStyle = colours.line;
    pen.lineWidth = 1;
    pen.beginPath();
    const right = Math.min(wide, margin.left + last.x * state.size - state.x);
    const bottom = Math.min(high, margin.top + last.y * state.size - state.y);
    for (let across = first.x; across <= last.x; across += 1) {
      const x = Math.round(margin.left + across * state.size - state.x) + 0.5;
      pen.moveTo(x, margin.top);
      pen.lineTo(x, bottom);
    }
    for (let down = first.y; down <= last.y; down += 1) {
      const y = Math.round(margin.top + down * state.size - state.y) + 0.5;
      pen.moveTo(margin.left, y);
      pen.lineTo(right, y);
    }
    pen.stroke();
  };

  const drawNames = (first, last) => {
    const step = Math.max(1, Math.ceil(13 / state.size));
    const isHere = (index, axis) => state.at !== null && state.at[axis] === index;
    for (let index = first.y; index < last.y; index += 1) {
      if (index % step && !isHere(index, "row")) continue;
      if (state.at && !isHere(index, "row") && Math.abs(index - state.at.row) * state.size < 12) continue;
      pen.fillStyle = isHere(index, "row") ? colours.ink : colours.soft;
      pen.textAlign = "right";
      pen.fillText(shorten(classes[state.order[index]], margin.left - 10), margin.left - 6, margin.top + (index + 0.5) * state.size - state.y);
    }
    for (let index = first.x; index < last.x; index += 1) {
      if (index % step && !isHere(index, "column")) continue;
      if (state.at && !isHere(index, "column") && Math.abs(index - state.at.column) * state.size < 12) continue;
      pen.save();
      pen.translate(margin.left + (index + 0.5) * state.size - state.x, margin.top - 6);
      pen.rotate(-Math.PI / 2);
      pen.fillStyle = isHere(index, "column") ? colours.ink : colours.soft;
      pen.textAlign = "left";
      pen.fillText(shorten(classes[state.order[index]], margin.top - 10), 0, 0);
      pen.restore();
    }
  };

  const clipped = (x, y, width, height, draw) => {
    pen.save();
    pen.beginPath();
    pen.rect(x, y, width, height);
    pen.clip();
    draw();
    pen.restore();
  };

  const draw = () => {
    pen.clearRect(0, 0, wide, high);
    pen.font = `12px ${colours.font}`;
    pen.textBaseline = "middle";
    const number = state.order.length;
    const first = { x: Math.floor(state.x / state.size), y: Math.floor(state.y / state.size) };
    const last = {
      x: Math.min(number, Math.ceil((state.x + wide - margin.left) / state.size)),
      y: Math.min(number, Math.ceil((state.y + high - margin.top) / state.size)),
    };
    clipped(margin.left, margin.top, wide - margin.left, high - margin.top, () => {
      drawCells(first, last);
      drawGrid(first, last);
      if (state.at) {
        pen.strokeStyle = colours.ink;
        pen.lineWidth = 2;
        const side = Math.max(state.size, 4);
        pen.strokeRect(margin.left + state.at.column * state.size - state.x, margin.top + state.at.row * state.size - state.y, side, side);
      }
    });
    clipped(0, margin.top - 7, margin.left, high - margin.top + 7, () => drawNames(first, { x: 0, y: last.y }));
    clipped(margin.left - 7, 0, wide - margin.left + 7, margin.top, () => drawNames({ x: first.x, y: 0 }, { x: last.x, y: 0 }));
    pen.strokeStyle = colours["line-strong"];
    pen.lineWidth = 1;
    const right = Math.min(wide, margin.left + number * state.size - state.x);
    const bottom = Math.min(high, margin.top + number * state.size - state.y);
    pen.strokeRect(margin.left + 0.5, margin.top + 0.5, right - margin.left - 1, bottom - margin.top - 1);
  };

  let isDrawing = false;
  const redraw = () => {
    if (isDrawing) return;
    isDrawing = true;
    requestAnimationFrame(() => { isDrawing = false; draw(); });
  };

  const fit = () => {
    measure();
    state.size = Math.max(fitSize(), 0.3);
    [state.x, state.y] = [0, 0];
    redraw();
  };

  const choose = (order) => {
    state.order = order;
    positions = new Map(order.map((one, index) => [one, index]));
    state.at = null;
    status.textContent = "";
    fit();
  };

  const zoom = (factor, x = margin.left + (wide - margin.left) / 2, y = margin.top + (high - margin.top) / 2) => {
    const size = clamp(state.size * factor, Math.min(fitSize(), 40), 64);
    const scale = size / state.size;
    state.x = (state.x + x - margin.left) * scale - (x - margin.left);
    state.y = (state.y + y - margin.top) * scale - (y - margin.top);
    state.size = size;
    keepInside();
    canvas.style.touchAction = size > fitSize() * 1.01 ? "none" : "pan-y";
    redraw();
  };

  const report = () => {
    const [row, column] = [state.order[state.at.row], state.order[state.at.column]];
    const number = count(row, column);
    const total = totals.get(row) ?? 0;
    const what = row === column ? `${isolated(classes[row])} predicted correctly` : `${isolated(classes[row])} predicted as ${isolated(classes[column])}`;
    const share = number ? `${number.toLocaleString("en")} of ${total.toLocaleString("en")}, ${Math.round((100 * number) / total)} %` : `none of ${total.toLocaleString("en")}`;
    const text = `${what}: ${total ? share : "none of its photos was scored"}`;
    if (status.textContent !== text) status.textContent = text;
  };

  const cellAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - margin.left + state.x) / state.size);
    const row = Math.floor((event.clientY - box.top - margin.top + state.y) / state.size);
    const isInside = event.clientX - box.left > margin.left && event.clientY - box.top > margin.top;
    return isInside && row < state.order.length && column < state.order.length ? { row, column } : null;
  };

  const moveTo = (at) => {
    if (at && state.at && at.row === state.at.row && at.column === state.at.column) return;
    state.at = at;
    if (at) report();
    redraw();
  };

  const bringIntoView = () => {
    const { row, column } = state.at;
    state.x = clamp(state.x, (column + 1) * state.size - (wide - margin.left), column * state.size);
    state.y = clamp(state.y, (row + 1) * state.size - (high - margin.top), row * state.size);
    keepInside();
  };

  const openAt = () => {
    if (!state.at) return;
    const [row, column] = [state.order[state.at.row], state.order[state.at.column]];
    if (count(row, column)) openCell(row, column);
  };

  canvas.addEventListener("keydown", (event) => {
    const last = state.order.length - 1;
    const at = state.at ?? { row: 0, column: -1 };
    const step = event.shiftKey ? 10 : 1;
    const moves = {
      ArrowRight: [0, step], ArrowLeft: [0, -step], ArrowDown: [step, 0], ArrowUp: [-step, 0],
      Home: [0, -last], End: [0, last], PageUp: [-last, 0], PageDown: [last, 0],
    };
    const actions = { "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: fit, Enter: openAt, " ": openAt };
    if (event.key in moves) {
      const [down, across] = moves[event.key];
      moveTo({ row: clamp(at.row + down, 0, last), column: clamp(at.column + across, 0, last) });
      bringIntoView();
    } else if (event.key in actions && !event.ctrlKey && !event.metaKey) {
      actions[event.key]();
    } else {
      return;
    }
    event.preventDefault();
  });

  const fingers = new Map();
  let start = null;
  const distance = () => {
    const [first, second] = [...fingers.values()];
    return Math.hypot(first.clientX - second.clientX, first.clientY - second.clientY);
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
    start = { from: event, x: state.x + event.clientX, y: state.y + event.clientY, at: cellAt(event), moved: false, apart: fingers.size === 2 ? distance() : 0 };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return moveTo(cellAt(event));
    fingers.set(event.pointerId, event);
    if (fingers.size === 2) {
      const apart = distance();
      const box = canvas.getBoundingClientRect();
      zoom(apart / start.apart, event.clientX - box.left, event.clientY - box.top);
      start = { ...start, apart, moved: true };
      return undefined;
    }
    if (!start.moved && Math.hypot(event.clientX - start.from.clientX, event.clientY - start.from.clientY) < 4) return undefined;
    start.moved = true;
    [state.x, state.y] = [start.x - event.clientX, start.y - event.clientY];
    keepInside();
    redraw();
    return undefined;
  });
  canvas.addEventListener("pointerup", (event) => {
    fingers.delete(event.pointerId);
    if (start && !start.moved && start.at) {
      moveTo(start.at);
      openAt();
    }
  });
  canvas.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => { if (document.activeElement !== canvas) moveTo(null); });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the wheel alone scrolls the page
    event.preventDefault();
    const box = canvas.getBoundingClientRect();
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });

  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => ({ in: () => zoom(1.5), out: () => zoom(1 / 1.5), fit })[button.dataset.zoom]());
  }
  for (const radio of document.querySelectorAll("input[name=matrix-cells]")) {
    radio.addEventListener("change", () => { state.shares = radio.value === "shares"; redraw(); });
  }
  for (const radio of document.querySelectorAll("input[name=matrix-classes]")) {
    radio.addEventListener("change", () => choose(radio.value === "block" ? block : classes.map((_, index) => index)));
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); redraw(); });
  new ResizeObserver(fit).observe(stage);
  canvas.style.touchAction = "pan-y";
  readColours();
  choose(state.order);
})();
