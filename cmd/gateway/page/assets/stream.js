// The stream of server-sent events, read by fetch: an EventSource would hide why it was refused, and
// would wait for ever on a connection that is dead.

const SILENT = 15000; // ms without a message: the connection counts as lost
const WAITS = [500, 1000, 2000, 5000, 10000];

// follow calls on.message(name, data) for each event, on.open, and on.lost(why, ms until the next try), for ever.
export async function follow(url, on) {
  for (let failed = 0; ; failed++) {
    let why;
    try {
      why = await read(url, on, () => { failed = 0; });
    } catch (e) {
      why = e.name === "AbortError" ? "nothing has come for " + SILENT / 1000 + " s" : "it does not answer";
    }
    const wait = WAITS[Math.min(failed, WAITS.length - 1)] * (0.75 + Math.random() / 2);
    on.lost(why, wait);
    await new Promise((go) => {
      const timer = setTimeout(done, wait);
      function done() {
        clearTimeout(timer);
        removeEventListener("online", done);
        go();
      }
      addEventListener("online", done);
    });
  }
}

async function read(url, on, arrived) {
  const control = new AbortController();
  let timer;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => control.abort(), SILENT);
  };
  try {
    alive();
    const answer = await fetch(url, { headers: { Accept: "text/event-stream" }, cache: "no-store", signal: control.signal });
    if (!answer.ok) {
      const text = (await answer.text()).trim().split("\n")[0].slice(0, 200);
      return `it answers ${answer.status}` + (text && !text.startsWith("<") ? `: ${text}` : "");
    }
    on.open();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let parts = []; // of the event that has not come whole: joined once, however many there are
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return "it has closed the stream";
      alive();
      let from = 0;
      // The events end with an empty line, which may come in two parts.
      if (parts.length && parts[parts.length - 1].endsWith("\n") && value.startsWith("\n")) {
        event(parts.join(""), on, arrived);
        parts = [];
        from = 1;
      }
      for (let end; (end = value.indexOf("\n\n", from)) >= 0; from = end + 2) {
        parts.push(value.slice(from, end));
        event(parts.join(""), on, arrived);
        parts = [];
      }
      if (from < value.length) parts.push(value.slice(from));
    }
  } finally {
    clearTimeout(timer);
    control.abort();
  }
}

function event(text, on, arrived) {
  let name = "message";
  let data = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (data) {
    arrived();
    on.message(name, JSON.parse(data));
  }
}
