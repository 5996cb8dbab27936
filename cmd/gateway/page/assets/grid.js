// The grid of shards: one canvas, of which only the cells that changed are drawn again.

import { $, colour, count, duration, latency, make, rate, setText } from "./format.js";
import { KINDS, colourName, icon, kindOf, mark, paintIcons } from "./states.js";

// Of a row of the stream.
export const ID = 0, STATE = 1, SINCE = 2, TRIP = 3, RATE = 4, RECONNECTS = 5, FLAGS = 6;

const CARD = { width: 168, height: 60 };
const LARGEST = 34, SMALLEST = 5;
const NUMBERED = 27; // a cell of this size has room for its id

export class Grid {
  // model has rows (by id), order (ids, ascending), states and now; open is called with an id.
  constructor(model, open) {
    this.model = model;
    this.open = open;
    this.box = $("grid");
    this.canvas = this.box.querySelector("canvas");
    this.context = this.canvas.getContext("2d");
    this.at = -1; // the place of the cursor
    this.chosen = null; // the id that is open
    this.by = "state";
    this.places = new Map(); // of ids in order
    this.layout = null;
    new ResizeObserver(() => this.resize()).observe(this.box);
    this.listen();
    this.themed();
  }

  listen() {
    const box = this.box;
    box.addEventListener("pointermove", (e) => { if (e.pointerType !== "touch") this.hover(this.placeAt(e)); });
    box.addEventListener("pointerleave", () => this.hover(-1));
    box.addEventListener("click", (e) => {
      const place = this.placeAt(e);
      if (place >= 0) {
        this.move(place, false);
        this.open(this.model.order[place]);
      }
    });
    box.addEventListener("keydown", (e) => this.key(e));
    box.addEventListener("focus", () => { if (box.matches(":focus-visible")) this.move(Math.max(0, this.at), true); });
    box.addEventListener("blur", () => { $("cursor").hidden = true; this.hover(-1); });
    $("colour").addEventListener("change", (e) => { this.by = e.target.value; this.draw(); this.legend(); });
  }

  key(e) {
    const n = this.model.order.length;
    if (!n || !this.layout || e.ctrlKey || e.metaKey || e.altKey) return;
    const { columns } = this.layout;
    const at = Math.max(0, this.at);
    const to = {
      ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns,
      Home: 0, End: n - 1, PageUp: at - 10 * columns, PageDown: at + 10 * columns,
    }[e.key];
    if (to !== undefined) {
      e.preventDefault();
      if (to >= 0 && to < n) this.move(to, true);
      else if (e.key.startsWith("Page")) this.move(to < 0 ? at % columns : n - 1, true);
    } else if (e.key === "Enter" || e.key === " ") {
      e.preventDefault();
      this.open(this.model.order[at]);
    } else if (e.key === "Escape") {
      if ($("tip").hidden) this.open(null);
      this.hover(-1);
    }
  }

  // move puts the cursor on a place; said: with what is there.
  move(place, said) {
    this.at = place;
    this.frame($("cursor"), said ? place : -1);
    if (!said) return;
    this.hover(place);
    setText($("spoken"), this.describe(place).join(", "));
    $("cursor").scrollIntoView({ block: "nearest" });
  }

  placeAt(e) {
    if (!this.layout) return -1;
    const r = this.canvas.getBoundingClientRect();
    const { columns, width, height, left } = this.layout;
    const column = Math.floor((e.clientX - r.left - left) / width);
    const row = Math.floor((e.clientY - r.top) / height);
    const place = row * columns + column;
    return column >= 0 && column < columns && row >= 0 && place < this.model.order.length ? place : -1;
  }

  describe(place) {
    const row = this.model.rows.get(this.model.order[place]);
    const m = this.model;
    const kind = kindOf(m.states[row[STATE]], row[FLAGS]);
    const say = [`shard ${row[ID]}`, `${m.states[row[STATE]] || "unknown"} for ${duration(m.now - row[SINCE])}`];
    if (kind === "paused" || kind === "late") say.push(KINDS[kind].means);
    if (row[STATE] === m.states.indexOf("ready")) say.push(`${rate(row[RATE])} events/s`);
    if (row[TRIP]) say.push(`round trip ${latency(row[TRIP] / 1000)}`);
    if (row[RECONNECTS]) say.push(`${count(row[RECONNECTS])} reconnects`);
    return say;
  }

  hover(place) {
    const tip = $("tip");
    this.hovered = place;
    if (place < 0 || !this.layout) {
      tip.hidden = true;
      return;
    }
    const [head, ...rest] = this.describe(place);
    tip.replaceChildren(make("b", {}, head), ...rest.flatMap((t) => [make("br"), t]));
    tip.hidden = false;
    const { x, y, width, height } = this.cell(place);
    const w = tip.offsetWidth, h = tip.offsetHeight;
    const left = Math.max(0, Math.min(x + width / 2 - w / 2, this.box.clientWidth - w));
    const top = y - h - 6 < -30 ? y + height + 6 : y - h - 6;
    tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  frame(e, place) {
    e.hidden = place < 0 || !this.layout;
    if (e.hidden) return;
    const { x, y, width, height } = this.cell(place);
    const gap = this.layout.gap;
    e.style.transform = `translate(${x}px, ${y}px)`;
    e.style.width = width - gap + "px";
    e.style.height = height - gap + "px";
  }

  // choose shows which shard is open; null: none.
  choose(id) {
    this.chosen = id;
    const place = id === null ? -1 : this.places.get(id) ?? -1;
    if (place >= 0) this.at = place;
    this.frame($("chosen"), place);
  }

  cell(place) {
    const { columns, width, height, left } = this.layout;
    return { x: left + (place % columns) * width, y: Math.floor(place / columns) * height, width, height };
  }

  // arranged is called when there are other shards than before.
  arranged() {
    this.places = new Map(this.model.order.map((id, i) => [id, i]));
    if (this.at >= this.model.order.length) this.at = -1;
    this.resize();
  }

  resize() {
    const n = this.model.order.length;
    const room = this.box.clientWidth;
    $("nothing").hidden = n > 0 || !this.model.release; // without a message it is not known
    this.canvas.hidden = n === 0;
    this.layout = n && room ? this.arrange(n, room) : null;
    if (!this.layout) {
      $("tip").hidden = $("cursor").hidden = $("chosen").hidden = true;
      return;
    }
    const scale = devicePixelRatio || 1;
    const { tall } = this.layout;
    this.canvas.width = Math.round(room * scale);
    this.canvas.height = Math.round(tall * scale);
    this.canvas.style.width = room + "px";
    this.canvas.style.height = tall + "px";
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
    this.draw();
    this.choose(this.chosen);
    this.frame($("cursor"), this.box.matches(":focus-visible") ? this.at : -1);
    this.hover(-1);
  }

  arrange(n, room) {
    if (n <= 48) {
      const columns = Math.max(1, Math.min(n, Math.floor((room + 8) / CARD.width)));
      const width = Math.min(Math.floor((room + 8) / columns), 260);
      return { columns, width, height: CARD.height, left: 0, gap: 8, tall: Math.ceil(n / columns) * CARD.height - 8, as: "card" };
    }
    const most = Math.max(260, Math.min(480, innerHeight * 0.5));
    const left = 10 + 7 * String(this.model.order[n - 1]).length;
    for (let size = LARGEST; ; size--) {
      let columns = Math.floor((room - left) / size);
      if (columns >= 20) columns -= columns % 10;
      columns = Math.min(columns, n);
      const tall = Math.ceil(n / columns) * size;
      if (tall <= most || size === SMALLEST) {
        return { columns, width: size, height: size, left, gap: size >= 12 ? 2 : 1, tall, as: size >= NUMBERED ? "number" : "sign" };
      }
    }
  }

  themed() {
    this.colours = {};
    for (const name of ["panel", "text", "dim", "line", "faint", "low", "high", ...Object.keys(KINDS).map(colourName)]) this.colours[name] = colour(name);
    this.draw();
    this.legend();
  }

  draw() {
    if (!this.layout) return;
    const { columns, height, left, tall, as } = this.layout;
    const c = this.context;
    c.clearRect(0, 0, this.box.clientWidth, tall);
    this.scale = this.top();
    const n = this.model.order.length;
    for (let i = 0; i < n; i++) this.drawCell(i);
    if (as === "card") return;
    c.fillStyle = this.colours.dim;
    c.font = "10px system-ui, sans-serif";
    c.textAlign = "right";
    c.textBaseline = "middle";
    const every = [1, 2, 5, 10, 20].find((k) => k * height >= 15);
    for (let i = 0; i * columns < n; i += every) c.fillText(this.model.order[i * columns], left - 6, Math.max(6, i * height + (height - this.layout.gap) / 2 + 0.5));
  }

  // top is the value that has the strongest colour: the 98th of a hundred, so that one shard does not make all others pale.
  top() {
    if (this.by === "state") return 0;
    const of = this.by === "rate" ? RATE : TRIP;
    const all = this.model.order.map((id) => this.model.rows.get(id)[of]).sort((a, b) => a - b);
    return all[Math.floor(all.length * 0.98)] || 1;
  }

  // update draws the shards again that have these ids.
  update(ids) {
    if (!this.layout) return;
    for (const id of ids) this.drawCell(this.places.get(id));
    if (this.hovered >= 0) this.hover(this.hovered);
  }

  // tick draws what changes with time alone.
  tick() {
    if (this.layout?.as === "card") for (let i = 0; i < this.model.order.length; i++) this.drawCell(i);
  }

  drawCell(place) {
    const { width, height, gap, as } = this.layout;
    const { x, y } = this.cell(place);
    const row = this.model.rows.get(this.model.order[place]);
    const c = this.context;
    const state = this.model.states[row[STATE]] || "unknown";
    const kind = kindOf(state, row[FLAGS]);
    c.clearRect(x - 0.5, y - 0.5, width, height);
    if (as === "card") {
      this.drawCard(row, state, kind, x, y, width - gap, height - gap);
      return;
    }
    const size = width - gap;
    let paint = this.colours[colourName(kind)];
    if (this.by !== "state" && kind === "ready") {
      const share = Math.min(1, row[this.by === "rate" ? RATE : TRIP] / this.scale);
      c.fillStyle = this.colours.low;
      c.fillRect(x, y, size, size);
      c.globalAlpha = share;
      paint = this.colours.high;
    }
    mark(c, kind, x, y, size, paint);
    c.globalAlpha = 1;
    if (as === "number") {
      c.fillStyle = kind === "ready" && this.by === "state" ? "#fff" : this.colours.text;
      c.font = "10px system-ui, sans-serif";
      c.textAlign = "center";
      c.textBaseline = "middle";
      c.fillText(row[ID], x + size / 2, y + size / 2 + 0.5);
    }
  }

  drawCard(row, state, kind, x, y, w, h) {
    const c = this.context;
    c.fillStyle = this.colours.faint;
    c.fillRect(x, y, w, h);
    c.fillStyle = this.colours[colourName(kind)];
    c.fillRect(x, y, 3, h);
    mark(c, kind, x + 12, y + 9, 11, this.colours[colourName(kind)]);
    c.textBaseline = "alphabetic";
    c.textAlign = "left";
    c.fillStyle = this.colours.text;
    c.font = "600 13px Inter, system-ui, sans-serif";
    c.fillText(row[ID], x + 30, y + 19);
    c.textAlign = "right";
    c.font = "12px Inter, system-ui, sans-serif";
    c.fillStyle = kind === "ready" ? this.colours.dim : this.colours.text;
    c.fillText(kind === "paused" || kind === "late" ? kind : state, x + w - 10, y + 19, w - 80);
    c.fillStyle = this.colours.dim;
    const ready = state === "ready";
    c.fillText(ready ? latency(row[TRIP] / 1000) : duration(this.model.now - row[SINCE]), x + w - 10, y + 40);
    c.textAlign = "left";
    c.fillText(ready ? `${rate(row[RATE])} events/s` : "for", x + 12, y + 40);
  }

  // legend says what the colours mean, with how many there are.
  legend() {
    const e = $("legend");
    if (this.by !== "state") {
      this.legendOf = null;
      const gradient = make("canvas", { class: "scale", "aria-hidden": "true" });
      gradient.width = 96;
      gradient.height = 10;
      const c = gradient.getContext("2d");
      for (let i = 0; i < 12; i++) {
        c.globalAlpha = 1;
        c.fillStyle = this.colours.low;
        c.fillRect(i * 8, 0, 8, 10);
        c.globalAlpha = i / 11;
        c.fillStyle = this.colours.high;
        c.fillRect(i * 8, 0, 8, 10);
      }
      const top = this.by === "rate" ? rate(this.scale) + " events/s" : latency((this.scale || 0) / 1000);
      e.replaceChildren(make("li", {}, "0 ", gradient, top), make("li", {}, "shards that are not ready keep their sign"));
      return;
    }
    const counts = {};
    for (const row of this.model.rows.values()) {
      const kind = kindOf(this.model.states[row[STATE]], row[FLAGS]);
      counts[kind] = (counts[kind] || 0) + 1;
    }
    const shown = Object.keys(KINDS).filter((k) => counts[k]);
    if (this.legendOf !== shown.join()) {
      this.legendOf = shown.join();
      e.replaceChildren(...shown.map((k) => make("li", { title: KINDS[k].means }, icon(k), make("b"), " " + KINDS[k].text)));
    }
    shown.forEach((k, i) => setText(e.children[i].querySelector("b"), count(counts[k])));
    paintIcons(e, this.colours);
  }
}
