// The bars and tables below the lines.

import { $, age, bytes, clock, count, duration, latency, make, short } from "./format.js";

const body = (id) => $(id).querySelector(".body");

// fill replaces what a panel has, if it has changed.
function fill(id, key, build) {
  const e = body(id);
  const text = JSON.stringify(key);
  if (e.dataset.key === text) return;
  e.dataset.key = text;
  e.replaceChildren(...build());
}

function meter(name, value, share, { note = "", level = "", held = 0 } = {}) {
  const bar = make("div", { class: "fill" });
  bar.style.width = Math.min(100, Math.max(0, share * 100)) + "%";
  const track = make("div", { class: "track", role: "img", "aria-label": `${name}: ${value}` }, bar);
  if (held) {
    const e = make("div", { class: "held" });
    e.style.width = Math.min(100, held * 100) + "%";
    track.append(e);
  }
  return make("div", { class: "meter", "data-level": level }, make("p", {}, name, make("b", {}, value)), track, make("p", { class: "note" }, note));
}

export function tables(model) {
  const s = model.status;
  if (!s) {
    for (const id of ["capacity", "ended", "names", "more"]) fill(id, null, () => [make("p", { class: "none" }, "no status yet")]);
    return;
  }
  capacity(s, model.now);
  ended(s, model.codes);
  names(s);
  more(s);
}

function capacity(s, now) {
  const i = s.identify, q = s.queue, p = s.spool;
  const reset = i.reset ? new Date(i.reset) : null;
  const full = q.max_bytes ? q.bytes / q.max_bytes : 0;
  const key = [i, reset && duration(reset / 1000 - now), bytes(q.bytes), q.events, q.paused, latency(q.oldest), p && [p.active, bytes(p.bytes), Math.floor(p.oldest)]];
  fill("capacity", key, () => [
    i.known
      ? meter("Session starts left", `${count(i.left)} of ${count(i.total)}`, i.left / (i.total || 1), {
        held: i.left ? Math.min(i.reserve, i.left) / (i.total || 1) : 0,
        level: i.exhausted || i.left <= i.reserve ? "bad" : "",
        note: [i.reserve ? `hatched: ${count(i.reserve)} in reserve` : "", reset ? `resets at ${clock(reset, false)}, in ${duration(reset / 1000 - now)}` : "", `${i.max_concurrency} each 5 s`, i.waiting ? `${count(i.waiting)} wait` : ""].filter(Boolean).join(" · "),
      })
      : meter("Session starts left", "not known yet", 0),
    meter("Queue", q.max_bytes ? `${bytes(q.bytes)} of ${bytes(q.max_bytes)}` : bytes(q.bytes), full, {
      level: full > 0.9 || q.paused ? "bad" : full > 0.5 ? "warn" : "",
      note: [`${count(q.events)} events`, q.events ? `oldest ${latency(q.oldest)}` : "", q.paused ? `${count(q.paused)} shards paused` : ""].filter(Boolean).join(" · "),
    }),
    p
      ? meter("Spool", p.max_bytes ? `${bytes(p.bytes)} of ${bytes(p.max_bytes)}` : bytes(p.bytes), p.max_bytes ? p.bytes / p.max_bytes : 0, {
        level: p.max_bytes && p.bytes / p.max_bytes > 0.8 ? "bad" : p.active ? "warn" : "",
        note: p.active ? `active: new events go to the disk · oldest ${duration(p.oldest)}` : p.bytes ? `catches up · oldest ${duration(p.oldest)}` : "empty",
      })
      : make("p", { class: "none" }, "no spool is set"),
  ]);
}

function ended(s, codes) {
  const list = (s.shards.ended || []).slice(0, 12);
  fill("ended", [list, Object.keys(codes).length], () => list.length
    ? [make("table", {}, make("thead", {}, make("tr", {}, make("th", {}, "cause"), make("th", {}, "code"), make("th", { class: "n" }, "count"))),
      make("tbody", {}, ...list.map((e) => {
        const code = e.code ? codes[e.code] : null;
        return make("tr", {}, make("td", {}, e.cause), make("td", { title: code ? `then: ${code[1]}` : "" }, ...(e.other ? ["other"] : e.code ? [String(e.code), " ", make("small", {}, code ? code[0] : "")] : [])), make("td", { class: "n" }, count(e.count)));
      })))]
    : [make("p", { class: "none" }, "none since the start")]);
}

function names(s) {
  const all = s.events.by_name || [];
  const list = all.slice(0, 10);
  const total = s.events.received || 1;
  fill("names", list, () => list.length
    ? [make("table", {}, make("thead", {}, make("tr", {}, make("th", {}, "event"), make("th", { class: "n" }, "count"), make("th", { class: "n" }, "share"))),
      make("tbody", {}, ...list.map((n) => make("tr", {}, make("td", {}, n.name), make("td", { class: "n" }, short(n.count)), make("td", { class: "n" }, percent(n.count / total)))),
        ...(all.length > list.length ? [make("tr", {}, make("td", {}, make("small", {}, `${all.length - list.length} more`)), make("td", { class: "n" }, short(all.slice(10).reduce((sum, n) => sum + n.count, 0))), make("td"))] : [])))]
    : [make("p", { class: "none" }, "none yet")]);
}

function percent(share) {
  const p = share * 100;
  return p >= 9.95 ? p.toFixed(0) + " %" : p >= 0.05 ? p.toFixed(1) + " %" : p > 0 ? "< 0.1 %" : "0 %";
}

function more(s) {
  const b = s.broker, t = s.store, c = s.commands, e = s.events;
  const rows = [
    ["broker", `${b.type}${b.address ? " at " + b.address : ""}`],
    ["", b.available ? "available" : b.blocked ? "blocked" : "unavailable", !b.available],
    ["published", count(b.published)],
    ["sent again, dead-lettered", `${count(b.retried)}, ${count(b.dead_lettered)}`, b.dead_lettered > 0],
    ["filtered, repeats dropped", `${short(e.filtered)}, ${short(e.repeated)}`],
    ["sessions in", `${t.type}${t.available ? "" : ": unavailable"}`, !t.available],
    ["last checkpoint", t.checkpoint ? (t.checkpoint < 1 ? latency(t.checkpoint) + " ago" : age(t.checkpoint)) : "none yet", t.checkpoint > 30],
    ["commands sent, pending", `${count(c.sent)}, ${count(c.pending)}`],
    ["commands refused", (c.refused || []).filter((r) => r.count).map((r) => `${r.name} ${count(r.count)}`).join(", ") || "none"],
    ["memory", bytes(s.process.memory)],
  ];
  fill("more", [rows, b.error, t.error], () => [make("dl", {}, ...rows.flatMap(([k, v, alarm]) => [make("dt", {}, k), make("dd", alarm ? { class: "alarm" } : {}, v)]),
    ...[b.error, t.error].filter(Boolean).map((text) => make("dd", { class: "note" }, text)))]);
}
