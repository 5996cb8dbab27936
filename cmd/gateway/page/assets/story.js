// The panel beside the grid: one shard's story, or the shards that are behind; and the search.

import { $, age, count, duration, latency, make, rate, setText } from "./format.js";
import { KINDS, icon, kindOf, paintIcons } from "./states.js";

export class Story {
  // choose is called with the id of the shard that is to be open, or null.
  constructor(model, choose) {
    this.model = model;
    this.choose = choose;
    this.id = null;
    this.box = $("story");
    $("find").addEventListener("submit", (e) => {
      e.preventDefault();
      this.find($("find-id").value.trim());
    });
    $("find-id").addEventListener("keydown", (e) => { if (e.key === "Escape") this.close(); });
    this.box.addEventListener("keydown", (e) => { if (e.key === "Escape") this.close(); });
    addEventListener("keydown", (e) => {
      if (e.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName)) {
        e.preventDefault();
        $("find-id").focus();
      }
    });
  }

  close() {
    if (this.id === null) return;
    const inside = this.box.contains(document.activeElement);
    this.choose(null);
    if (inside) $("grid").focus();
  }

  // find opens the shard of an id, or of a guild's: an id of fifteen figures or more is a snowflake.
  find(text) {
    const say = (t) => { $("found").hidden = !t; setText($("found"), t); };
    if (!/^[0-9]{1,20}$/.test(text)) {
      say(text ? "An id consists of digits." : "");
      return;
    }
    let id = Number(text);
    let whose = "";
    if (text.length >= 15) {
      const shards = this.model.status?.shards.count;
      if (!shards) {
        say("The shard count is not known yet.");
        return;
      }
      id = Number((BigInt(text) >> 22n) % BigInt(shards));
      whose = `Guild ${text} is on shard ${id} of ${count(shards)}. `;
    }
    if (this.model.rows.has(id)) {
      say(whose);
      this.choose(id);
    } else {
      say(whose + (id < (this.model.status?.shards.count || 0) ? `Another process runs shard ${id}.` : `There is no shard ${id}.`));
    }
  }

  // show opens a shard; null: the list of those that are behind.
  show(id) {
    if (id !== this.id) this.shard = null;
    this.id = id;
    this.shown = null;
    this.update(this.colours);
  }

  update(colours) {
    this.colours = colours;
    if (this.id === null) {
      this.list();
    } else {
      this.draw();
      this.ask();
    }
    paintIcons(this.box, colours);
  }

  // ask fetches the shard, one request at a time.
  async ask() {
    if (this.asking) return;
    this.asking = true;
    const id = this.id;
    try {
      const answer = await fetch(`page/shards/${id}`, { cache: "no-store" });
      if (answer.ok && id === this.id) {
        this.shard = (await answer.json()).shard;
        this.draw();
      }
    } catch {
      // The stream says that the connection is lost.
    } finally {
      this.asking = false;
      if (id !== this.id && this.id !== null) this.ask();
    }
  }

  draw() {
    const id = this.id;
    if (id === null) return;
    if (!this.model.rows.has(id)) {
      this.frame(`Shard ${id}`, make("p", { class: "hint" }, "This process does not run it now."));
      return;
    }
    const s = this.shard;
    if (!s || s.id !== id) {
      this.frame(`Shard ${id}`, make("p", { class: "hint" }, "…"));
      return;
    }
    const state = s.state;
    const flags = (s.paused ? 1 : 0) | (state === "ready" && s.last_ack > 60 ? 2 : 0);
    const kind = kindOf(state, flags);
    const code = s.code ? this.model.codes[s.code] || ["no meaning that is documented", "resume"] : null;
    const facts = [
      ["session", s.session || "none"],
      ["seq", s.seq ? count(s.seq) : "–"],
      ["events", count(s.events)],
      ["events/s", rate(s.rate)],
      ["last event", s.events ? age(s.last_event || 0) : "none yet"] /* an age of 0 is left out */,
      ["last heartbeat ACK", s.last_ack ? age(s.last_ack) : "none yet"],
      ["round trip", latency(s.round_trip)],
      ["commands pending", count(s.pending)],
      ["reconnects", count(s.reconnects)],
      ["last end", s.cause || s.ended ? [s.cause || "unknown", s.ended && age(s.ended)].filter(Boolean).join(", ") : "none"],
    ];
    if (code) facts.push(["close code", `${s.code} ${code[0]}`], ["what follows", code[1]]);
    const why = s.why || (kind === state ? "" : KINDS[kind].means);
    this.frame(`Shard ${id}`,
      make("p", {}, icon(kind), " ", make("span", { class: "tag" }, state), ` for ${duration(s.since)}`),
      why ? make("p", { class: "why" }, why) : "",
      make("dl", {}, ...facts.flatMap(([k, v]) => [make("dt", {}, k), make("dd", {}, v)])));
    paintIcons(this.box, this.colours);
  }

  // frame replaces what is below the heading; the heading and its button stay, and with it the focus.
  frame(title, ...body) {
    if (this.shown !== "story") {
      this.shown = "story";
      const close = make("button", { type: "button", "aria-label": "Close" }, "Close");
      close.addEventListener("click", () => this.close());
      this.box.replaceChildren(make("div", { class: "head" }, make("h3"), close), make("div"));
    }
    setText(this.box.querySelector("h3"), title);
    this.box.lastChild.replaceChildren(...body.filter((e) => e !== ""));
  }

  list() {
    const { count: n, list } = this.model.behind;
    const key = JSON.stringify(list.map((s) => [s.id, s.state])) + n;
    if (this.shown !== key) {
      this.shown = key;
      const rows = list.map((s) => {
        const kind = s.why.startsWith("paused") && s.state === "ready" ? "paused" : s.state === "ready" ? "late" : kindOf(s.state);
        const b = make("button", { type: "button" }, icon(kind), make("b", {}, String(s.id)), make("span", {}, s.state), make("span", { class: "since" }), make("span", { class: "why" }));
        b.addEventListener("click", () => this.choose(s.id));
        return make("li", {}, b);
      });
      this.box.replaceChildren(
        ...(n ? [make("h3", {}, `Behind: ${count(n)}`), make("ol", {}, ...rows)] : []),
        n > list.length ? make("p", { class: "hint" }, `and ${count(n - list.length)} more`) : "",
        n ? "" : make("p", { class: "hint" }, this.model.order.length ? "No shard is behind. Click a shard in the grid to see its story, or find one by an id." : ""));
    }
    this.box.querySelectorAll("li").forEach((e, i) => {
      setText(e.querySelector(".since"), duration(list[i].since));
      setText(e.querySelector(".why"), list[i].why);
    });
  }
}
