// The last log lines, as JSON or as text, as the log of the gateway is.

import { $, clock, count, make, setText } from "./format.js";

const MOST = 500;
const LEVELS = { DEBUG: 0, INFO: 1, WARN: 2, ERROR: 3 };

// parse returns a line's time, level, message and attributes. What is not understood is the message.
export function parse(line) {
  const fields = line.startsWith("{") ? json(line) : text(line);
  if (!fields) return { level: 1, name: "", text: line, attributes: [], line };
  const of = Object.fromEntries(fields);
  const name = String(of.level || "");
  return {
    at: of.time ? new Date(of.time) : null, level: LEVELS[name.split(/[+-]/)[0]] ?? 1, name, text: String(of.msg ?? ""),
    attributes: fields.filter(([k]) => k !== "time" && k !== "level" && k !== "msg"), line,
  };
}

function json(line) {
  try {
    return Object.entries(JSON.parse(line)).map(([k, v]) => [k, typeof v === "string" ? v : JSON.stringify(v)]);
  } catch {
    return null;
  }
}

const field = /\s*([^\s="]+)=("(?:[^"\\]|\\.)*"|\S*)/y;

function text(line) {
  const fields = [];
  field.lastIndex = 0;
  for (let end = 0; end < line.length; end = field.lastIndex) {
    const m = field.exec(line);
    if (!m) return null;
    let value = m[2];
    if (value.startsWith('"')) {
      try {
        value = JSON.parse(value);
      } catch {
        value = value.slice(1, -1); // Go quotes some letters as JSON does not
      }
    }
    fields.push([m[1], value]);
  }
  return fields.some(([k]) => k === "msg") ? fields : null;
}

export class Log {
  constructor() {
    this.all = [];
    this.list = $("lines");
    this.follows = true;
    $("level").addEventListener("change", () => this.filter());
    $("filter").addEventListener("input", () => this.filter());
    this.list.addEventListener("scroll", () => {
      this.follows = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 24;
    });
  }

  // replace shows these lines alone.
  replace(lines) {
    this.all = [];
    this.list.replaceChildren();
    this.add(lines);
  }

  add(lines) {
    const fresh = lines.slice(-MOST).map(parse);
    for (const entry of fresh) {
      entry.element = element(entry);
      entry.element.hidden = !this.shows(entry);
    }
    this.all.push(...fresh);
    for (const old of this.all.splice(0, Math.max(0, this.all.length - MOST))) old.element.remove();
    this.list.append(...fresh.filter((e) => this.all.includes(e)).map((e) => e.element));
    this.count();
    if (this.follows) this.list.scrollTop = this.list.scrollHeight;
  }

  shows(entry) {
    const wanted = $("filter").value.trim().toLowerCase();
    return entry.level >= Number($("level").value) && (!wanted || entry.line.toLowerCase().includes(wanted));
  }

  filter() {
    for (const entry of this.all) entry.element.hidden = !this.shows(entry);
    this.count();
    this.list.scrollTop = this.list.scrollHeight;
  }

  count() {
    const shown = this.all.filter((e) => !e.element.hidden).length;
    const all = this.all.length;
    setText(document.querySelector("#log .count"), !all ? "no line yet" : shown === all ? all === 1 ? "one line" : `the last ${count(all)} lines` : `${count(shown)} of the last ${count(all)} lines`);
  }
}

function element(entry) {
  const words = make("span", { class: "text" }, entry.text);
  for (const [k, v] of entry.attributes) words.append("  ", make("i", {}, k + "="), v);
  const time = entry.at && !isNaN(entry.at) ? make("time", { datetime: entry.at.toISOString(), title: entry.at.toString() }, clock(entry.at)) : make("time");
  return make("li", { "data-level": entry.level }, time, make("span", { class: "level" }, entry.name), words);
}
