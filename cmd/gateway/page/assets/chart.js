// Lines over the last fifteen minutes.

import { clock, make } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const SPAN = 15 * 60;
const LEFT = 46, RIGHT = 8, TOP = 8, BOTTOM = 20, HEIGHT = 170;
export const AT = 0, RATE = 1, P50 = 2, P99 = 3, FLAGS = 5;
const UNAVAILABLE = 1;

function node(name, attributes, text) {
  const e = document.createElementNS(SVG, name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
}

export class Chart {
  // lines are {of, name}: the index in a sample and a class. format writes a value; logarithmic is for what goes over decades.
  constructor(root, { lines, format, logarithmic, filled }) {
    Object.assign(this, { root, lines, format, logarithmic, filled, samples: [], now: 0, step: 5 });
    this.figure = root.querySelector("figure");
    this.svg = node("svg", { role: "img", height: HEIGHT });
    this.readout = make("div", { class: "readout", hidden: "" });
    this.figure.append(this.svg, this.readout);
    this.svg.addEventListener("pointermove", (e) => this.point(e));
    this.svg.addEventListener("pointerleave", () => this.point(null));
    new ResizeObserver(() => this.draw()).observe(this.figure);
  }

  update(samples, now, step) {
    Object.assign(this, { samples, now, step });
    this.draw();
  }

  x(at) {
    return LEFT + (1 - (this.now - at) / SPAN) * (this.width - LEFT - RIGHT);
  }

  y(v) {
    const tall = HEIGHT - TOP - BOTTOM;
    if (this.logarithmic) {
      const [low, high] = [Math.log10(this.low), Math.log10(this.high)];
      return TOP + tall * (1 - (Math.log10(Math.max(v, this.low)) - low) / (high - low));
    }
    return TOP + tall * (1 - v / this.high);
  }

  // rules sets the scale, and returns the values that have a rule.
  rules() {
    let most = 0, least = Infinity;
    for (const s of this.samples) {
      for (const l of this.lines) {
        most = Math.max(most, s[l.of]);
        if (s[l.of] > 0) least = Math.min(least, s[l.of]);
      }
    }
    const rules = [];
    if (this.logarithmic) {
      this.low = 10 ** Math.floor(Math.log10(Math.min(least, 1e-3)));
      this.high = 10 ** Math.ceil(Math.log10(Math.max(most * 1.05, 0.1)));
      this.low = Math.max(this.low, 1e-5);
      for (let v = this.low; v <= this.high * 1.001; v *= 10) rules.push(v);
    } else {
      const rough = Math.max(most, 2) / 3;
      const unit = 10 ** Math.floor(Math.log10(rough));
      const step = Math.max(1, [1, 2, 5, 10].map((k) => k * unit).find((k) => k >= rough)); // the labels are whole numbers
      this.high = Math.ceil(Math.max(most, 2) * 1.02 / step) * step;
      for (let v = 0; v <= this.high * 1.001; v += step) rules.push(v);
    }
    return rules;
  }

  draw() {
    this.width = this.svg.clientWidth || this.figure.clientWidth - 24;
    if (this.width < 100) return;
    const right = this.width - RIGHT, floor = HEIGHT - BOTTOM;
    const all = [];
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    for (const v of this.rules()) {
      const y = Math.round(this.y(v));
      all.push(node("line", { x1: LEFT, x2: right, y1: y, y2: y, class: "rule" + (y >= floor - 1 ? " base" : "") }));
      all.push(node("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, this.format(v)));
    }
    for (let minutes = 15; minutes >= 0; minutes -= 5) {
      const x = this.x(this.now - minutes * 60);
      const anchor = minutes === 15 ? "start" : minutes === 0 ? "end" : "middle";
      all.push(node("text", { x, y: HEIGHT - 5, "text-anchor": anchor }, minutes ? `${minutes} min ago` : "now"));
    }
    for (const [from, to] of this.outages()) {
      const x = Math.max(LEFT, this.x(from));
      const w = Math.max(2, this.x(to) - x);
      all.push(node("rect", { x, y: TOP, width: w, height: floor - TOP, class: "outage" }));
      all.push(node("rect", { x, y: TOP, width: w, height: 2, class: "outage-edge" }));
      if (w > 116) all.push(node("text", { x: x + 5, y: TOP + 14, class: "label" }, "broker unavailable"));
    }
    for (const l of this.lines) {
      const runs = this.runs(l.of);
      const points = runs.map((run) => run.map((s) => `${this.x(s[AT]).toFixed(1)},${this.y(s[l.of]).toFixed(1)}`));
      if (this.filled) {
        const d = points.map((p, i) => `M${this.x(runs[i][0][AT]).toFixed(1)},${floor}L${p.join("L")}L${this.x(runs[i].at(-1)[AT]).toFixed(1)},${floor}Z`).join("");
        all.push(node("path", { d, class: "area" }));
      }
      all.push(node("path", { d: points.map((p) => "M" + p.join("L") + (p.length === 1 ? "h1" : "")).join(""), class: l.name }));
    }
    if (this.samples.length < 2) {
      all.push(node("text", { x: (LEFT + right) / 2, y: HEIGHT / 2, "text-anchor": "middle", class: "empty" }, "the history begins now"));
    }
    this.cross = node("line", { y1: TOP, y2: floor, x1: 0, x2: 0, class: "cross", visibility: "hidden" });
    all.push(this.cross);
    this.svg.replaceChildren(...all);
    if (this.pointer) this.point(this.pointer);
  }

  // runs are the samples without holes: while a process stood still there was none, and a logarithm has no 0, which is no value.
  runs(of) {
    const runs = [];
    let last = -Infinity;
    for (const s of this.samples) {
      if (s[AT] < this.now - SPAN) continue;
      if (this.logarithmic && !s[of]) {
        last = -Infinity;
        continue;
      }
      if (s[AT] - last > 3 * 5) runs.push([]);
      runs.at(-1).push(s);
      last = s[AT];
    }
    return runs;
  }

  outages() {
    const list = [];
    let from = null;
    for (const s of this.samples) {
      const out = s[FLAGS] & UNAVAILABLE;
      if (out && from === null) from = s[AT];
      if (!out && from !== null) {
        list.push([from, s[AT]]);
        from = null;
      }
    }
    if (from !== null) list.push([from, this.now]);
    return list.filter(([, to]) => to > this.now - SPAN);
  }

  point(e) {
    this.pointer = e && { clientX: e.clientX };
    const none = !e || !this.samples.length;
    let best = null;
    if (!none) {
      const at = this.now - (1 - (e.clientX - this.svg.getBoundingClientRect().left - LEFT) / (this.width - LEFT - RIGHT)) * SPAN;
      for (const s of this.samples) if (!best || Math.abs(s[AT] - at) < Math.abs(best[AT] - at)) best = s;
    }
    this.readout.hidden = !best;
    this.cross?.setAttribute("visibility", best ? "visible" : "hidden");
    if (!best) return;
    const x = this.x(best[AT]);
    this.cross.setAttribute("x1", x);
    this.cross.setAttribute("x2", x);
    const values = this.lines.map((l) => (this.lines.length > 1 ? l.name + " " : "") + this.format(best[l.of], true));
    this.readout.textContent = `${clock(new Date(best[AT] * 1000))}   ${values.join("   ")}` + (best[FLAGS] & UNAVAILABLE ? "   broker unavailable" : "");
    const w = this.readout.offsetWidth;
    this.readout.style.transform = `translate(${Math.round(Math.max(12, Math.min(x + 12 - w / 2, this.width - w)))}px, -4px)`;
  }
}
