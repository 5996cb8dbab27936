// The page: it follows the stream, and shows what comes.

import { $, count, duration, latency, make, rate, setText } from "./format.js";
import { follow } from "./stream.js";
import { answers } from "./answers.js";
import { Grid, ID } from "./grid.js";
import { Story } from "./story.js";
import { Chart, P50, P99, RATE } from "./chart.js";
import { tables } from "./tables.js";
import { fleet } from "./fleet.js";
import { Log } from "./log.js";

document.documentElement.classList.add("js");

const SAMPLES = 180; // of the history: fifteen minutes

const model = {
  status: null, reshard: "", now: 0, behind: { count: 0, list: [] },
  states: [], codes: {}, step: 5, release: null,
  rows: new Map(), order: [], history: [],
  arrived: 0, // when the last message came, by the clock of this browser
};

let linked = "connecting"; // or "open", or why it is lost
let again = 0; // when the next try is

const themed = theme();
const grid = new Grid(model, open);
const story = new Story(model, open);
const log = new Log();
const charts = [
  new Chart($("chart-rate"), { lines: [{ of: RATE, name: "p50" }], format: (v, exact) => (exact ? rate(v) : thousand(v)), filled: true }),
  new Chart($("chart-lag"), { lines: [{ of: P50, name: "p50" }, { of: P99, name: "p99" }], format: (v, exact) => (exact ? latency(v) : decade(v)), logarithmic: true }),
];
themed(() => {
  grid.themed();
  story.update(grid.colours);
});

// thousand and decade write the values of the rules, which are round.
const thousand = (v) => (v >= 1e6 ? +(v / 1e6).toFixed(2) + " M" : v >= 1e4 ? +(v / 1e3).toFixed(1) + " k" : count(v));
const decade = (v) => (v >= 0.9 ? Math.round(v) + " s" : v >= 0.9e-3 ? Math.round(v * 1e3) + " ms" : +(v * 1e3).toFixed(2) + " ms");

// open shows the story of a shard, or of none. Where there is one column it is below the grid.
function open(id) {
  story.show(id);
  grid.choose(id);
  if (id !== null && matchMedia("(max-width: 900px)").matches) $("side").scrollIntoView({ block: "nearest" });
}

function message(name, m) {
  model.arrived = performance.now();
  model.now = m.at;
  model.status = m.status;
  model.reshard = m.reshard || ""; // none at work
  model.behind = m.behind || { count: 0, list: [] };
  let arranged = false;
  if (name === "full") {
    if (model.release && m.release !== model.release) location.reload(); // the gateway was upgraded, and its page with it
    model.release = m.release;
    model.states = m.states;
    model.codes = m.codes;
    model.step = m.step;
    model.rows = new Map(m.rows.map((r) => [r[ID], r]));
    model.order = m.rows.map((r) => r[ID]);
    model.history = m.history;
    log.replace(m.log);
    arranged = true;
  } else {
    for (const id of m.gone || []) arranged = model.rows.delete(id) || arranged;
    for (const r of m.rows) {
      arranged ||= !model.rows.has(r[ID]);
      model.rows.set(r[ID], r);
    }
    if (arranged) model.order = [...model.rows.keys()].sort((a, b) => a - b);
    model.history.push(...m.history);
    model.history.splice(0, Math.max(0, model.history.length - SAMPLES));
    if (m.log.length) log.add(m.log);
  }
  pending.arranged ||= arranged;
  for (const r of m.rows) pending.ids.add(r[ID]);
  title();
  // One drawing for what comes between two frames; a page in the background draws nothing.
  pending.frame ||= requestAnimationFrame(draw);
}

const pending = { frame: 0, arranged: false, ids: new Set() };

function draw() {
  const { arranged, ids } = pending;
  Object.assign(pending, { frame: 0, arranged: false, ids: new Set() });
  if (arranged) grid.arranged();
  else grid.update(ids);
  grid.tick();
  grid.legend();
  facts();
  answers(model, open);
  $("reshard").hidden = !model.reshard;
  setText($("reshard").lastChild, model.reshard);
  story.update(grid.colours);
  const s = model.status;
  for (const c of charts) c.update(model.history, model.now, model.step);
  now($("chart-rate"), s ? [["", rate(s.events.rate) + " now"]] : []);
  now($("chart-lag"), s ? [["p50", latency(s.events.lag.p50)], ["p99", latency(s.events.lag.p99)], ["", "max " + latency(s.events.lag.max)]] : []);
  tables(model);
  fleet(s, model.now);
  link();
}

// now shows the values of the moment in a chart's heading; those with a line have its key.
function now(root, values) {
  const e = root.querySelector(".now");
  while (e.children.length < values.length) e.append(make("span", {}, "", make("b")));
  values.forEach(([key, value], i) => {
    const of = e.children[i];
    of.className = key ? "key " + key : "";
    setText(of.lastChild, value);
    if (of.firstChild.nodeValue !== (key ? key + " " : "")) of.firstChild.nodeValue = key ? key + " " : "";
  });
  while (e.children.length > values.length) e.lastChild.remove();
}

function facts() {
  const s = model.status;
  const e = $("facts");
  if (!s) {
    setText(e, "starting");
    return;
  }
  const part = s.shards.run === s.shards.count ? `${count(s.shards.count)}` : `${count(s.shards.run)} of ${count(s.shards.count)}`;
  const list = [
    ["", s.process.version], ["up ", duration(s.process.uptime)],
    s.shards.count ? ["shards ", part] : ["", "shard count not known yet"],
    ["", s.health.live ? (s.health.ready ? "live, ready" : "live, not ready") : "not live"],
    ["log level ", s.process.log_level],
  ];
  while (e.children.length < list.length) e.append(make("span", {}, "", make("b")));
  if (e.children.length !== list.length) e.replaceChildren();
  list.forEach(([before, value], i) => {
    const at = e.children[i];
    if (!at) return;
    if (at.firstChild.nodeType === 3 && at.firstChild.nodeValue !== before) at.firstChild.nodeValue = before;
    setText(at.lastChild, value);
  });
}

function title() {
  const s = model.status;
  const n = model.behind.count;
  const text = linked !== "open" ? "connection lost" : !s ? "starting" : !s.health.live ? "not live" : !s.broker.available ? "broker unavailable" : n ? `${count(n)} behind` : s.health.ready ? "ready" : "not ready";
  const all = `${text} · Sluice`;
  if (document.title !== all) document.title = all;
}

// link says whether the data is live, and how old it is if not.
function link() {
  const e = $("link");
  const old = model.arrived ? (performance.now() - model.arrived) / 1000 : 0;
  const lost = linked !== "open" && linked !== "connecting";
  const late = linked === "open" && model.arrived && old >= 3 * Math.max(1, model.step / 5);
  e.dataset.on = lost || late ? "no" : model.arrived && linked === "open" ? "yes" : "";
  setText(e.lastChild, lost ? "not connected" : late ? `no data for ${duration(old)}` : linked === "open" ? "live" : "connecting");
  document.documentElement.classList.toggle("stale", Boolean(lost || late) && model.arrived > 0);
  const banner = $("banner");
  banner.hidden = !lost;
  if (lost) {
    const next = Math.max(0, Math.ceil((again - performance.now()) / 1000));
    setText(banner, (model.arrived ? `Connection to the gateway lost: ${linked}. What is shown is ${duration(old)} old.` : `No connection to the gateway: ${linked}.`) + (next ? ` Next try in ${next} s.` : " Trying now."));
  }
}

// theme lets the viewer choose between the system's theme, light and dark. It returns a function that calls
// another whenever the colours change.
function theme() {
  const names = ["auto", "light", "dark"];
  const store = { get: () => { try { return localStorage.getItem("theme"); } catch { return null; } }, set: (v) => { try { localStorage.setItem("theme", v); } catch { /* not allowed: it is kept as long as the page */ } } };
  let chosen = names.includes(store.get()) ? store.get() : "auto";
  let changed = () => {};
  const apply = () => {
    if (chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    setText($("theme"), `Theme: ${chosen}`);
    changed();
  };
  $("theme").addEventListener("click", () => {
    chosen = names[(names.indexOf(chosen) + 1) % names.length];
    store.set(chosen);
    apply();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  apply();
  return (f) => { changed = f; };
}

setInterval(() => { link(); title(); }, 1000);
follow("page/stream", {
  open() { linked = "open"; link(); },
  lost(why, wait) {
    linked = why;
    again = performance.now() + wait;
    link();
    title();
  },
  message,
});
