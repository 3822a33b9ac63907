// Server-sent events from a POST, which EventSource cannot send.

// Calls `on[name](data)` for each event of `response` until it ends.
export async function read(response, on) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    pending += value;
    const events = pending.split("\n\n");
    pending = events.pop();
    for (const event of events) {
      const fields = Object.fromEntries(event.split("\n").map((line) => line.split(/: (.*)/s)));
      if (fields.event && on[fields.event]) on[fields.event](JSON.parse(fields.data));
    }
  }
}
