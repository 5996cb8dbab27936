// The fleet that the gateway is a member of; without one there is nothing.

import { $, age, count, duration, make } from "./format.js";

let shown = "";

export function fleet(status, now) {
  const panel = $("fleet"), f = status?.fleet;
  panel.hidden = !f;
  if (!f) return;
  const deaths = f.deaths.slice(0, 3).map((d) => [d.name || d.incarnation.slice(0, 8), d.shards, duration(now - new Date(d.at) / 1000)]);
  const key = JSON.stringify([{ ...f, beat: 0, stable: 0, revision: 0, unreached: Math.floor(f.unreached ?? 0), members: f.members.map((m) => ({ ...m, beat: Math.floor(m.beat / 3) })), moves: f.moves.length }, deaths]);
  if (key === shown) return;
  shown = key;
  panel.querySelector(".body").replaceChildren(...(f.joined ? [facts(f, deaths), members(f)] : [make("p", { class: "alarm" }, `${f.member} has not joined yet: ${f.why}`)]));
}

function facts(f, deaths) {
  const own = f.members.find((m) => m.incarnation === f.incarnation);
  const rows = [
    ["this member", `${f.member}, ${f.confirmed ? "confirmed" : "not confirmed"}${f.draining ? ", draining" : ""}`, !f.confirmed],
    ["shards here", `${count(own?.shards)} of ${count(f.plan.shards)}`],
    ["moving", count(f.moves.length)],
    ["without an owner", count(f.unowned), f.unowned > 0],
    ...deaths.map(([name, shards, since], i) => [i ? "" : "died", `${name}, ${since} ago, with ${count(shards)} shards`]),
  ];
  return make("dl", {}, ...rows.flatMap(([k, v, alarm]) => [make("dt", {}, k), make("dd", alarm ? { class: "alarm" } : {}, v)]),
    ...(f.error ? [make("dd", { class: "note" }, f.error)] : []));
}

function members(f) {
  const sorted = [...f.members].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const n = { class: "n" };
  return make("table", {}, make("thead", {}, make("tr", {}, make("th", {}, "member"), make("th", {}, "state"), make("th", n, "shards"), make("th", n, "share"), make("th", n, "beat"))),
    make("tbody", {}, ...sorted.map((m) => make("tr", {}, make("td", {}, m.name, ...(m.incarnation === f.incarnation ? [" ", make("small", {}, "this")] : [])),
      make("td", m.state === "deposed" ? { class: "alarm" } : {}, m.state), make("td", n, count(m.shards)), make("td", n, m.share.toFixed(1)), make("td", n, m.state === "deposed" ? "–" : m.beat < 3 ? "now" : age(m.beat))))));
}
