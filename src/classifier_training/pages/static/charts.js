// Charts: the values under the pointer, or under the arrow keys, are shown in a small box; charts of one group move together.
"use strict";
(() => {
  document.documentElement.classList.add("scripted");
  const charts = [...document.querySelectorAll(".chart[data-hits]")];
  const status = document.getElementById("status");
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const hitsOf = new Map();
  const guides = new Map();

  const hits = (chart) => {
    if (!hitsOf.has(chart)) hitsOf.set(chart, JSON.parse(chart.dataset.hits));
    return hitsOf.get(chart);
  };

  const fillTip = (text) => {
    const [head, ...lines] = text.split("\n");
    const title = document.createElement("strong");
    title.textContent = head;
    const list = document.createElement("dl");
    for (const line of lines) {
      const [name, value = ""] = line.split("\t");
      for (const [kind, content] of [["dt", name], ["dd", value]]) {
        const part = document.createElement(kind);
        part.textContent = content;
        list.append(part);
      }
    }
    tip.replaceChildren(title, list);
  };

  const placeTip = (x, y) => {
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = x + 16 + box.width > innerWidth ? x - 16 - box.width : x + 16;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.min(Math.max(4, y - box.height / 2), innerHeight - box.height - 4)}px`;
  };

  let read = null; // the chart that is read with the arrow keys: its box follows the page

  const hide = () => {
    read = null;
    tip.hidden = true;
    for (const guide of guides.values()) guide.hidden = true;
  };

  const drawGuide = (chart, share) => {
    if (!guides.has(chart)) {
      const made = document.createElement("div");
      made.className = "guide";
      chart.append(made);
      guides.set(chart, made);
    }
    const guide = guides.get(chart);
    const outer = chart.getBoundingClientRect();
    const inner = chart.querySelector(".plot").getBoundingClientRect();
    guide.hidden = false;
    guide.style.left = `${inner.left - outer.left + (inner.width * share) / 100}px`;
    guide.style.top = `${inner.top - outer.top}px`;
    guide.style.height = `${inner.height}px`;
  };

  const show = (chart, index, x, y) => {
    const hit = hits(chart)[index];
    chart.dataset.at = index;
    hide();
    fillTip(hit[1]);
    const inner = chart.querySelector(".plot").getBoundingClientRect();
    placeTip(x ?? inner.left + (inner.width * hit[0]) / 100, y ?? inner.top + inner.height / 2);
    const group = chart.dataset.group;
    for (const one of group ? charts.filter((other) => other.dataset.group === group) : [chart]) {
      const same = hits(one)[index];
      if (same) drawGuide(one, same[0]);
    }
    return hit[1];
  };

  const nearest = (chart, x) => {
    const inner = chart.querySelector(".plot").getBoundingClientRect();
    const share = (100 * (x - inner.left)) / inner.width;
    let best = 0;
    hits(chart).forEach((hit, index) => {
      if (Math.abs(hit[0] - share) < Math.abs(hits(chart)[best][0] - share)) best = index;
    });
    return best;
  };

  for (const chart of charts) {
    if (chart.dataset.hits === "[]") continue;
    chart.tabIndex = 0;
    chart.setAttribute("role", "group");
    chart.setAttribute("aria-label", `${chart.dataset.title}: arrow keys read the values`);
    chart.addEventListener("pointermove", (event) => show(chart, nearest(chart, event.clientX), event.clientX, event.clientY));
    chart.addEventListener("pointerdown", (event) => show(chart, nearest(chart, event.clientX), event.clientX, event.clientY));
    chart.addEventListener("pointerleave", hide);
    chart.addEventListener("blur", hide);
    chart.addEventListener("keydown", (event) => {
      const last = hits(chart).length - 1;
      const at = chart.dataset.at === undefined ? null : Number(chart.dataset.at);
      const moves = { ArrowRight: at === null ? 0 : Math.min(at + 1, last), ArrowLeft: at === null ? last : Math.max(at - 1, 0), Home: 0, End: last };
      if (event.key === "Escape") hide();
      if (!(event.key in moves)) return;
      event.preventDefault();
      const text = show(chart, moves[event.key]);
      read = chart;
      status.textContent = text.replaceAll("\n", ", ").replaceAll("\t", " ");
    });
  }
  addEventListener("scroll", () => {
    const chart = read;
    if (chart === null) return hide();
    show(chart, Number(chart.dataset.at));
    read = chart;
    return undefined;
  }, { passive: true });

  // the section that is being read is marked in the contents
  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
  const marks = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  for (const section of document.querySelectorAll("main > section")) if (links.has(section.id)) marks.observe(section);
})();
