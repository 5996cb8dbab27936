// The five questions that are answered at one look.

import { $, age, bytes, clock, count, duration, latency, make, setText } from "./format.js";

function answer(id, level, big, small, press) {
  const e = $("a-" + id);
  e.dataset.level = level;
  const at = e.querySelector(".big");
  if (at.textContent !== big) at.replaceChildren(press ? make("button", { type: "button" }, big) : big);
  const button = at.querySelector("button");
  if (button) button.onclick = press;
  setText(e.querySelector(".small"), small);
  fold(e);
}

// fold cuts a text that is too long for its box, and gives the box a button that shows all of it.
function fold(e) {
  const text = e.querySelector(".small");
  const more = e.querySelector(".more");
  e.classList.remove("open");
  const long = text.scrollHeight > text.clientHeight;
  const open = long && more.ariaExpanded === "true";
  e.classList.toggle("open", open);
  more.hidden = !long;
  more.ariaExpanded = String(open);
  setText(more, open ? "Show less" : "Show all");
}

const boxes = document.querySelectorAll("#answers article");
for (const e of boxes) {
  const more = e.querySelector(".more");
  more.addEventListener("click", () => {
    more.ariaExpanded = String(more.ariaExpanded !== "true");
    fold(e);
  });
}
addEventListener("resize", () => boxes.forEach(fold));

const plural = (n, one, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;

// answers fills them in. open is called with the id of a shard.
export function answers(model, open) {
  const s = model.status;
  if (!s) {
    for (const id of ["lost", "behind", "ready", "starts", "broker"]) answer(id, "", "–", "the gateway has no status yet; it is starting");
    return;
  }
  lost(s, model.history);
  behind(s, model, open);
  ready(s);
  starts(s.identify, model.now);
  broker(s);
}

function lost(s, history) {
  const { lost, gaps } = s.events;
  const dead = s.broker.dead_lettered;
  const letters = dead ? `${plural(dead, "event")} dead-lettered` : "";
  const damaged = s.spool?.damaged || 0;
  if (!lost && !gaps && damaged) {
    answer("lost", "bad", plural(damaged, "damaged segment"), "of the spool: the events in it are lost; the log names the file");
    return;
  }
  if (!lost && !gaps) {
    answer("lost", dead ? "warn" : "ok", "Nothing lost", letters || `${count(s.broker.published)} events published since the start`);
    return;
  }
  const what = [lost && plural(lost, "event"), gaps && plural(gaps, "gap")].filter(Boolean).join(", ");
  const before = history.length ? history[0][4] : 0;
  const recent = lost + gaps - before;
  const when = recent > 0 ? "in the last 15 minutes" : "none of it in the last 15 minutes";
  const gap = gaps ? "a gap is a session that ended before Discord had sent all" : "";
  answer("lost", recent > 0 ? "bad" : "warn", what + " lost", [when, letters, gap].filter(Boolean).join("; "));
}

function behind(s, model, open) {
  const { count: n, list } = model.behind;
  if (!n) {
    answer("behind", s.shards.run ? "ok" : "", s.shards.run ? "None" : "No shard runs", s.shards.run ? `${plural(s.shards.run, "shard")} ready and keeping up` : "");
    return;
  }
  const first = list[0];
  const waiting = s.identify.waiting;
  if (waiting > 0 && waiting > n / 2) {
    const turns = s.identify.max_concurrency ? Math.ceil(waiting / s.identify.max_concurrency) * 5 : 0;
    answer("behind", "warn", `${count(n)} starting`, `${count(waiting)} wait for their turn to identify` +
      (turns ? `: about ${duration(turns)}, ${s.identify.max_concurrency} each 5 s` : ""));
    return;
  }
  const level = first.since < 30 && n < Math.max(2, s.shards.run / 20) ? "warn" : "bad";
  const more = n > 1 ? ` and ${count(n - 1)} more` : "";
  answer("behind", level, `Shard ${first.id}${more}`, `${first.state} for ${duration(first.since)}${first.why ? ": " + first.why : ""}`, () => open(first.id));
}

function ready(s) {
  const failed = s.health.checks?.filter((c) => !c.ok) || [];
  if (!s.health.live) {
    answer("ready", "bad", "Not live", texts(failed.filter((c) => c.of === "livez")));
  } else if (!s.health.ready) {
    const list = failed.filter((c) => c.of === "readyz");
    const few = s.broker.available && s.shards.run && s.shards.ready >= s.shards.run * 0.95;
    answer("ready", few ? "warn" : "bad", "Not ready", texts(list) || "no check says why");
  } else {
    answer("ready", "ok", "Ready", `${count(s.shards.ready)} of ${plural(s.shards.run, "shard")} ready; live`);
  }
}

const texts = (checks) => checks.map((c) => (c.text.toLowerCase().includes(c.name.toLowerCase()) ? c.text : `${c.name}: ${c.text}`)).join("; ");

function starts(i, now) {
  if (!i.known) {
    answer("starts", "", "Not known", "Discord has not said it yet");
    return;
  }
  const usable = Math.max(0, i.left - i.reserve);
  const reset = i.reset ? new Date(i.reset) : null;
  const when = reset ? `resets in ${duration(reset / 1000 - now)}, at ${clock(reset, false)}` : "";
  const level = i.exhausted || usable === 0 ? "bad" : usable < i.total / 10 || usable < i.waiting ? "warn" : "ok";
  const why = i.exhausted ? "shards wait for the reset" : i.reserve ? `${count(i.reserve)} of them in reserve` : "";
  answer("starts", level, `${count(i.left)} of ${count(i.total)}`, [why, when].filter(Boolean).join("; "));
}

function broker(s) {
  const b = s.broker, q = s.queue;
  const waits = q.events ? `${plural(q.events, "event")} wait, ${bytes(q.bytes)}` : "";
  const spool = s.spool?.active ? "new events go to the spool" : "";
  const name = b.type || "broker";
  if (!b.available) {
    const what = b.blocked ? "blocked" : "unavailable";
    answer("broker", "bad", `Yes: ${name} ${what}`, [`for ${duration(b.since)}${b.error ? ": " + b.error : ""}`, waits, spool].filter(Boolean).join("; "));
  } else if (q.paused > 0 || q.oldest > 5 || s.events.lag.p99 > 5) {
    const why = q.paused > 0 ? `${plural(q.paused, "shard")} paused, the queue is full` : `the oldest event has waited for ${latency(Math.max(q.oldest, 0))}`;
    answer("broker", "warn", `Maybe: ${name} is slow`, [why, waits, spool].filter(Boolean).join("; "));
  } else {
    const last = b.unavailable >= 1 ? `; unavailable for ${duration(b.unavailable)} before, the last time ${age(b.since)}` : "";
    answer("broker", s.spool?.active ? "warn" : "ok", s.spool?.active ? `No: ${name} catches up` : `No: ${name} available`, `99 % of events acknowledged within ${latency(s.events.lag.p99)}${last}${spool ? "; " + spool : ""}`);
  }
}
