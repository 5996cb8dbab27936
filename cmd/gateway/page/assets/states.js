// What the states of a shard look like. Several that mean the same to an operator look the same.

export const KINDS = {
  ready: { text: "ready", means: "events flow" },
  resuming: { text: "resuming", means: "connected; Discord sends what was missed" },
  starting: { text: "connecting", means: "a connection or a session begins" },
  waiting: { text: "waiting", means: "waits for its turn to identify" },
  backoff: { text: "backoff", means: "its connection ended or failed; it waits before the next" },
  stopped: { text: "stopped", means: "it does not connect again" },
  paused: { text: "paused", means: "ready, but not read: the queue is full" },
  late: { text: "late", means: "ready, but its heartbeat is not acknowledged" },
};

const OF = {
  ready: "ready", resuming: "resuming", connecting: "starting", hello: "starting", identifying: "starting",
  "identify wait": "waiting", "identify queued": "waiting", confirming: "waiting", idle: "waiting", backoff: "backoff", draining: "stopped", stopped: "stopped",
};

const PAUSED = 1;
const LATE = 2;

// kindOf returns the kind of a state with its flags.
export function kindOf(state, flags = 0) {
  if (state === "ready" && flags & LATE) return "late";
  if (state === "ready" && flags & PAUSED) return "paused";
  return OF[state] || "waiting";
}

// COLOUR is the custom property of a kind.
const COLOUR = { late: "paused" };
export const colourName = (kind) => COLOUR[kind] || kind;

// mark draws the sign of a kind into a square: each has a shape of its own, down to 4 pixels.
export function mark(c, kind, x, y, size, paint) {
  c.fillStyle = c.strokeStyle = paint;
  const s = size;
  const w = Math.max(1, Math.round(s / 6));
  switch (kind) {
    case "resuming": // a ring
      c.fillRect(x, y, s, s);
      c.clearRect(x + 2 * w, y + 2 * w, s - 4 * w, s - 4 * w);
      break;
    case "starting": // the lower half
      c.fillRect(x, y + s / 2, s, s / 2);
      c.fillRect(x, y, w, s / 2);
      break;
    case "waiting": // an outline
      c.fillRect(x, y, s, w);
      c.fillRect(x, y + s - w, s, w);
      c.fillRect(x, y, w, s);
      c.fillRect(x + s - w, y, w, s);
      break;
    case "backoff": // a triangle
      c.beginPath();
      c.moveTo(x + s / 2, y - 0.5);
      c.lineTo(x + s + 0.5, y + s);
      c.lineTo(x - 0.5, y + s);
      c.fill();
      break;
    case "stopped": // a cross
      c.lineWidth = Math.max(1.5, s / 5);
      c.beginPath();
      c.moveTo(x, y);
      c.lineTo(x + s, y + s);
      c.moveTo(x + s, y);
      c.lineTo(x, y + s);
      c.stroke();
      break;
    case "paused": // two bars
      c.fillRect(x, y, s * 0.36, s);
      c.fillRect(x + s * 0.64, y, s * 0.36, s);
      break;
    case "late": // a diamond
      c.beginPath();
      c.moveTo(x + s / 2, y);
      c.lineTo(x + s, y + s / 2);
      c.lineTo(x + s / 2, y + s);
      c.lineTo(x, y + s / 2);
      c.fill();
      break;
    default:
      c.fillRect(x, y, s, s);
  }
}

// icon returns a canvas of 12 px with the sign, which is drawn by paintIcons.
export function icon(kind) {
  const e = document.createElement("canvas");
  e.dataset.kind = kind;
  e.setAttribute("aria-hidden", "true");
  return e;
}

// paintIcons draws the signs below an element, in the colours of now.
export function paintIcons(root, colours) {
  const scale = devicePixelRatio || 1;
  for (const e of root.querySelectorAll("canvas[data-kind]")) {
    e.width = e.height = Math.round(12 * scale);
    const c = e.getContext("2d");
    c.scale(scale, scale);
    mark(c, e.dataset.kind, 1, 1, 10, colours[colourName(e.dataset.kind)]);
  }
}
