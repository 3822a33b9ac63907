// A run's page: the curve, the numbers, the samples, as they come over server-sent events.

import { axis, colour, draw as drawChart, recitedBelow, star, thin } from "./chart.js";

const root = document.getElementById("run");
const byId = (id) => document.getElementById(id);
const first = JSON.parse(root.dataset.state);
const MOST_SAMPLES = 12;
const REDRAW_MS = 400;

const metrics = { step: [], loss: [], average: [], rate: [], norm: [], speed: [] };
const validations = { step: [], loss: [] };
const originalities = { step: [], share: [], longest: [] };
let lastMetrics = null;
let drawn = false;
let drawTimer = null;

const text = (id, value) => { byId(id).textContent = value; };
const two = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));
const percent = (value, digits) => `${(value * 100).toFixed(digits)} %`;
const element = (name, className, content) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (content !== undefined) made.textContent = content;
  return made;
};

function draw() {
  drawTimer = null;
  if (!window.Plotly || !metrics.step.length) return;
  const [step, last] = [thin(metrics.step), metrics.step.at(-1)];
  const other = colour("--chart-other");
  const recited = recitedBelow(originalities.share);
  drawChart("chart", [
    { x: step, y: thin(metrics.loss), name: "Loss", line: { color: colour("--chart-faint"), width: 1 }, hoverinfo: "skip" },
    { x: step, y: thin(metrics.average), name: "Average", line: { color: colour("--accent"), width: 2.5 } },
    { x: thin(validations.step), y: thin(validations.loss), name: "Unread posts", mode: "lines+markers", line: { color: other, width: 2, dash: "dot" }, marker: { size: 7 } },
    star(validations.step, validations.loss, { name: "Best", marker: { symbol: "star", size: 15, color: other, line: { color: colour("--card"), width: 1 } } }),
    { x: thin(originalities.step), y: thin(originalities.share), customdata: thin(originalities.longest), name: "Recited", yaxis: "y2", mode: "lines+markers", line: { color: colour("--bad"), width: 2 }, marker: { size: 6 }, showlegend: false, hovertemplate: "%{y:.0%}, at most %{customdata} in a row" },
  ], last, recited);
  const legend = { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "transparent" };
  const small = { height: 200, legend, margin: { l: 52, r: 48, t: 26, b: 28 }, xaxis: axis({ showgrid: false, rangemode: "tozero", tickformat: ",d" }) };
  drawChart("chart-rate", [
    { x: step, y: thin(metrics.rate), name: "Learning rate", line: { color: colour("--accent"), width: 2 }, hovertemplate: "%{y:.3~g}" },
    { x: step, y: thin(metrics.norm), name: "Gradient", yaxis: "y2", line: { color: other, width: 1 }, hovertemplate: "%{y:.3~g}" },
  ], last, { ...small, yaxis: axis({ rangemode: "tozero", tickformat: ".2~g" }), yaxis2: axis({ overlaying: "y", side: "right", tickmode: "auto", nticks: 5, tickformat: ".2~g", showgrid: false, rangemode: "tozero" }) });
  drawChart("chart-speed", [
    { x: step, y: thin(metrics.speed), name: "Tokens a second", line: { color: colour("--accent"), width: 2 }, hovertemplate: "%{y:,.0f}" },
  ], last, { ...small, showlegend: false, yaxis: axis({ rangemode: "tozero", tickformat: "~s" }) });
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
    for (const [name, list] of Object.entries(metrics)) list.push(now[name]);
  }
  lastMetrics = found.at(-1);
  text("loss", two(lastMetrics.loss));
  text("average", two(lastMetrics.average));
  text("speed", lastMetrics.speed.toLocaleString());
  text("mfu", lastMetrics.mfu ? `${percent(lastMetrics.mfu, lastMetrics.mfu < 0.1 ? 1 : 0)} of the machine` : "");
  text("memory", lastMetrics.memory || "–");
  text("epoch", two(lastMetrics.epoch));
  text("line", lastMetrics.line);
  showSteps(lastMetrics.step);
}

let steps = first.steps;
let ended = first.ended;

function showSteps(step) {
  byId("progress").max = steps || 1;
  byId("progress").value = step;
  text("steps", `Step ${step.toLocaleString()} of ${steps.toLocaleString()}`);
  const seconds = !lastMetrics || ended || step >= steps ? 0 : lastMetrics.remaining;
  text("remaining", seconds ? `about ${duration(seconds)} to go` : "");
}

function showValidations(found) {
  for (const now of found) {
    while (validations.step.length && validations.step.at(-1) >= now.step) for (const list of Object.values(validations)) list.pop();
    validations.step.push(now.step);
    validations.loss.push(now.loss);
  }
  const newest = found.at(-1);
  text("validation", two(newest.loss));
  text("bits", two(newest.bits));
  text("perplexity", newest.perplexity === null ? "" : `perplexity ${newest.perplexity.toFixed(1)}`);
  text("accuracy", percent(newest.accuracy, 1));
  const lowest = Math.min(...validations.loss);
  const at = validations.step[validations.loss.indexOf(lowest)];
  text("best", at === newest.step ? "the best so far" : `best ${two(lowest)} at step ${at.toLocaleString()}`);
}

function showOriginalities(found) {
  for (const now of found) {
    while (originalities.step.length && originalities.step.at(-1) >= now.step) for (const list of Object.values(originalities)) list.pop();
    for (const [name, list] of Object.entries(originalities)) list.push(now[name]);
  }
  const newest = found.at(-1);
  text("recited", percent(newest.share, newest.share > 0 && newest.share < 0.0995 ? 1 : 0));
  text("longest", `at most ${newest.longest} in a row`);
}

function showSample(sample) {
  byId("no-samples")?.remove();
  const sheet = element("article", "sheet prose");
  sheet.append(element("p", "eyebrow", [`Step ${sample.step.toLocaleString()}`, sample.wish, sample.recited].filter(Boolean).join(" · ")));
  if (sample.title) sheet.append(element("h3", "", sample.title));
  if (sample.date || sample.tags.length) {
    const meta = element("p", "meta");
    if (sample.date) meta.append(element("span", "", sample.date));
    for (const tag of sample.tags) meta.append(element("span", "tag", tag));
    sheet.append(meta);
  }
  const body = element("div", "text clipped", sample.body);
  if (!sample.title && !sample.body.trim()) body.append(element("span", "hint", "Not a word: it drew end-of-text first."));
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
  ended = run.ended; // perhaps of a moment long past: a resumed run tells its whole history
  const badge = byId("state");
  if (badge.textContent !== run.state) badge.textContent = run.state;
  badge.className = `badge ${run.tone}`;
  text("queue", run.queue ? `It is number ${run.queue} in the queue; one run trains at a time.` : "");
  byId("error").hidden = !(run.error && run.tone === "bad");
  text("error", run.error);
  text("because", run.because);
  text("restarts", run.restarts ? `Its process was killed ${run.restarts === 1 ? "once" : `${run.restarts} times`} and went on by itself.` : "");
  if (run.metrics && !lastMetrics) showMetrics([run.metrics]);
  if (run.validation && !validations.step.length) showValidations([run.validation]);
  if (run.originality && !originalities.step.length) showOriginalities([run.originality]);
  showSteps(run.step);
}

function show(updates) {
  if (updates.metrics.length) showMetrics(updates.metrics);
  if (updates.validations.length) showValidations(updates.validations);
  if (updates.originalities.length) showOriginalities(updates.originalities);
  updates.samples.forEach(showSample);
  updates.checkpoints.forEach(showCheckpoint);
  for (const found of updates.notes) note(found.step, found.message);
  if (updates.run) showRun(updates.run);
  if (updates.metrics.length || updates.validations.length || updates.originalities.length) drawSoon();
}

const events = new EventSource(root.dataset.events);
events.addEventListener("updates", (event) => {
  byId("lost").hidden = true;
  show(JSON.parse(event.data));
});
events.addEventListener("end", () => {
  events.close();
  // Which buttons an ended run has is the server's business.
  if (!first.ended) setTimeout(() => window.location.reload(), 1500);
});
events.addEventListener("problem", (event) => {
  const problem = JSON.parse(event.data);
  byId("lost").hidden = false;
  text("lost", `${problem.message} ${problem.remedy} This page tries again by itself.`);
});

if (first.metrics) text("line", first.metrics.line);
window.addEventListener("load", draw);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
