// Numbers and elements.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const count = (n) => whole.format(n || 0);

// rate of something a second: with a decimal where it matters.
export const rate = (n) => (n >= 100 || !n ? whole : tenth).format(n || 0);

// short is a count in a narrow place: 1,234, 56.7 k, 8.9 M.
export function short(n) {
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (n >= size) {
      const v = n / (unit === "k" ? 1e3 : size);
      return (v >= 100 ? whole : tenth).format(v) + " " + unit;
    }
  }
  return whole.format(n || 0);
}

export function bytes(n) {
  for (const [size, unit] of [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (n >= size) return (n / size >= 100 ? whole : tenth).format(n / size) + " " + unit;
  }
  return whole.format(n || 0) + " B";
}

// duration in its two largest units: 3 d 4 h, 5 min 6 s, 7 s.
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min" + (s % 60 ? ` ${s % 60} s` : "");
  if (s < 86400) return Math.floor(s / 3600) + " h" + (s % 3600 >= 60 ? ` ${Math.floor((s % 3600) / 60)} min` : "");
  return Math.floor(s / 86400) + " d" + (s % 86400 >= 3600 ? ` ${Math.floor((s % 86400) / 3600)} h` : "");
}

// latency of three figures: 0.8 ms, 41 ms, 1.25 s.
export function latency(seconds) {
  if (!seconds) return "–";
  const ms = seconds * 1000;
  if (ms < 10) return ms.toFixed(1) + " ms";
  if (ms < 1000) return ms.toFixed(0) + " ms";
  if (seconds < 60) return seconds.toFixed(seconds < 10 ? 2 : 1) + " s";
  return duration(seconds);
}

export const age = (seconds) => (seconds < 1 ? "now" : duration(seconds) + " ago");

const two = (n) => String(n).padStart(2, "0");

// clock is the viewer's local time of a Date.
export const clock = (d, seconds = true) => two(d.getHours()) + ":" + two(d.getMinutes()) + (seconds ? ":" + two(d.getSeconds()) : "");

// make returns an element: with text, or with children.
export function make(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) if (v !== undefined) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

// setText changes the document only if the text differs: what has not changed is not laid out again, nor read out.
export function setText(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

export const $ = (id) => document.getElementById(id);

// colour returns what a custom property is in the theme of now.
const probe = make("i", { hidden: "" });
export function colour(name) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}
