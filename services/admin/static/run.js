// A run's page: the curve, the numbers, the samples, as they come over server-sent events.

const root = document.getElementById("run");
const byId = (id) => document.getElementById(id);
const first = JSON.parse(root.dataset.state);
const MOST_POINTS = 1500; // drawn; more cannot be told apart on a screen
const MOST_SAMPLES = 12;
const REDRAW_MS = 400;

const metrics = { step: [], loss: [], average: [] };
const validations = { step: [], loss: [] };
let lastMetrics = null;
let drawn = false;
let drawTimer = null;

const text = (id, value) => { byId(id).textContent = value; };
const two = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));
const element = (name, className, content) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (content !== undefined) made.textContent = content;
  return made;
};

// Keep the first, the last and evenly spaced points between. Always a new array: plotly compares by identity.
function thin(values) {
  const stride = Math.max(1, Math.ceil(values.length / MOST_POINTS));
  return values.filter((_, index) => index % stride === 0 || index === values.length - 1);
}

function draw() {
  drawTimer = null;
  if (!window.Plotly || !metrics.step.length) return;
  if (!drawn) byId("chart").replaceChildren();
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const lines = [
    { x: thin(metrics.step), y: thin(metrics.loss), name: "Loss", line: { color: colour("--chart-faint"), width: 1 }, hoverinfo: "skip" },
    { x: thin(metrics.step), y: thin(metrics.average), name: "Average", line: { color: colour("--accent"), width: 2.5 } },
    { x: thin(validations.step), y: thin(validations.loss), name: "Unread posts", mode: "lines+markers", line: { color: colour("--chart-other"), width: 2, dash: "dot" }, marker: { size: 7 } },
  ].map((line) => ({ type: "scatter", mode: "lines", hovertemplate: "%{y:.3f}", ...line }));
  const axis = { gridcolor: colour("--line"), zeroline: false, linecolor: colour("--line"), tickfont: { color: colour("--faint") } };
  const layout = {
    margin: { l: 44, r: 12, t: 8, b: 40 },
    height: Math.min(340, Math.max(240, root.clientWidth * 0.45)),
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("--ink") },
    legend: { orientation: "h", x: 1, xanchor: "right", y: 1.0, yanchor: "top", bgcolor: "transparent" },
    hovermode: "x unified",
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    xaxis: { ...axis, title: { text: "Step", standoff: 8 }, rangemode: "tozero", showgrid: false, tickformat: ",d", dtick: metrics.step.at(-1) < 8 ? 1 : undefined },
    yaxis: { ...axis, title: { text: "" } },
    uirevision: "keep", // a reader who zoomed in stays there
  };
  window.Plotly.react("chart", lines, layout, { responsive: true, displayModeBar: false });
  drawn = true;
}

function drawSoon() {
  if (drawTimer === null) drawTimer = setTimeout(draw, drawn ? REDRAW_MS : 0);
}

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function showMetrics(found) {
  for (const now of found) {
    // A resumed run goes back to its checkpoint: what came after it is written anew.
    while (metrics.step.length && metrics.step.at(-1) >= now.step) for (const list of Object.values(metrics)) list.pop();
    metrics.step.push(now.step);
    metrics.loss.push(now.loss);
    metrics.average.push(now.average);
  }
  lastMetrics = found.at(-1);
  text("loss", two(lastMetrics.loss));
  text("average", two(lastMetrics.average));
  text("speed", lastMetrics.speed.toLocaleString());
  text("line", lastMetrics.line);
  showSteps(lastMetrics.step);
}

let steps = first.steps;
let ended = first.ended;
let pace = null; // [step, seconds] where this process was first seen

function showSteps(step) {
  byId("progress").max = steps || 1;
  byId("progress").value = step;
  text("steps", `Step ${step.toLocaleString()} of ${steps.toLocaleString()}`);
  if (!lastMetrics || ended || step >= steps) return text("remaining", "");
  if (!pace || lastMetrics.seconds < pace[1]) pace = [lastMetrics.step, lastMetrics.seconds];
  const done = lastMetrics.step - pace[0];
  if (done > 0) text("remaining", `about ${duration(((lastMetrics.seconds - pace[1]) / done) * (steps - step))} to go`);
}

function showValidations(found) {
  for (const now of found) {
    while (validations.step.length && validations.step.at(-1) >= now.step) for (const list of Object.values(validations)) list.pop();
    validations.step.push(now.step);
    validations.loss.push(now.loss);
  }
  text("validation", two(found.at(-1).loss));
  text("bits", two(found.at(-1).bits));
}

function showSample(sample) {
  byId("no-samples")?.remove();
  const sheet = element("article", "sheet prose");
  sheet.append(element("p", "eyebrow", `Step ${sample.step.toLocaleString()}`));
  if (sample.title) sheet.append(element("h3", "", sample.title));
  if (sample.date || sample.tags.length) {
    const meta = element("p", "meta");
    if (sample.date) meta.append(element("span", "", sample.date));
    for (const tag of sample.tags) meta.append(element("span", "tag", tag));
    sheet.append(meta);
  }
  const body = element("div", "text clipped", sample.body);
  sheet.append(body);
  const link = element("a", "", "Markdown");
  link.href = `${root.dataset.download}&step=${sample.step}&index=${sample.index}&form=md`;
  const footer = element("footer");
  footer.append(link);
  sheet.append(footer);
  byId("samples").prepend(sheet);
  if (body.scrollHeight > body.clientHeight + 8) {
    const more = element("button", "link", "Read all");
    more.type = "button";
    more.onclick = () => { body.classList.remove("clipped"); more.remove(); };
    footer.prepend(more);
  } else body.classList.remove("clipped");
  while (byId("samples").children.length > MOST_SAMPLES) byId("samples").lastElementChild.remove();
}

function note(step, message) {
  const line = element("li");
  line.append(element("span", "hint", step ? `Step ${step.toLocaleString()}` : ""), ` ${message}`);
  byId("notes").prepend(line);
}

function showCheckpoint(found) {
  note(found.step, `Saved (${found.size}).`);
  byId("publish").hidden = false;
  byId("no-checkpoint").hidden = true;
  const select = byId("step");
  if (![...select.options].some((option) => option.value === String(found.step))) {
    select.options[0].after(new Option(`step ${found.step.toLocaleString()}`, found.step));
  }
}

function showRun(run) {
  steps = run.steps;
  if (run.ended !== ended) {
    // Which buttons there are is the server's business.
    if (run.ended && !first.ended) setTimeout(() => window.location.reload(), 1500);
    ended = run.ended;
  }
  const badge = byId("state");
  if (badge.textContent !== run.state) badge.textContent = run.state;
  badge.className = `badge ${run.tone}`;
  text("queue", run.queue ? `It is number ${run.queue} in the queue; one run trains at a time.` : "");
  byId("error").hidden = !(run.error && run.tone === "bad");
  text("error", run.error);
  if (run.metrics && !lastMetrics) showMetrics([run.metrics]);
  if (run.validation && !validations.step.length) showValidations([run.validation]);
  showSteps(run.step);
}

function show(updates) {
  if (updates.metrics.length) showMetrics(updates.metrics);
  if (updates.validations.length) showValidations(updates.validations);
  updates.samples.forEach(showSample);
  updates.checkpoints.forEach(showCheckpoint);
  for (const found of updates.notes) note(found.step, found.message);
  if (updates.run) showRun(updates.run);
  if (updates.metrics.length || updates.validations.length) drawSoon();
}

const events = new EventSource(root.dataset.events);
events.addEventListener("updates", (event) => {
  byId("lost").hidden = true;
  show(JSON.parse(event.data));
});
events.addEventListener("end", () => events.close());
events.addEventListener("problem", (event) => {
  const problem = JSON.parse(event.data);
  byId("lost").hidden = false;
  text("lost", `${problem.message} ${problem.remedy} This page tries again by itself.`);
});

if (first.metrics) text("line", first.metrics.line);
window.addEventListener("load", draw);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
