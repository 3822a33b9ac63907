// Try it: sends the form, writes what comes onto the sheet, stops when asked.

import { read } from "./events.js";
import { leadsTo } from "./source.js";

const form = document.getElementById("try");
const byId = (id) => document.getElementById(id);
const show = (id, wanted) => { byId(id).hidden = !wanted; };

let written = ""; // the prompt and everything after it, header included
let skip = 0; // length of the header that is shown as a title instead
let prompt = "";
let seed = "";
let stopper = null;
let borrowed = { marks: [], runs: [] }; // pieces that stand in the posts, see borrowed.py

function render() {
  // What the reader gave stands apart from what the model wrote.
  const begun = Math.max(skip, prompt.length);
  byId("begun").textContent = written.slice(skip, begun);
  const parts = [];
  let at = begun;
  for (const { start, end, run } of borrowed.marks) {
    if (end <= at) continue;
    parts.push(written.slice(at, Math.max(at, start)), piece(written.slice(Math.max(at, start), end), run));
    at = end;
  }
  byId("text").replaceChildren(...parts, written.slice(at));
}

function piece(text, run) {
  const mark = document.createElement("mark");
  mark.textContent = text;
  mark.tabIndex = 0;
  leadsTo(mark, borrowed.runs[run], byId("text"));
  return mark;
}

function showOriginality(found) {
  borrowed = found;
  byId("originality").textContent = found.summary;
  byId("originality").dataset.level = found.level;
  show("originality", true);
  render();
}

function clear() {
  written = prompt;
  skip = 0;
  seed = "";
  borrowed = { marks: [], runs: [] };
  show("source", false);
  show("originality", false);
  show("problem", false);
  show("blank", false);
  show("after", false);
  show("keep", false);
  show("title", false);
  show("meta", false);
  for (const field of form.querySelectorAll(".wrong")) {
    field.classList.remove("wrong");
    field.querySelector(".complaint").hidden = true;
    field.querySelector("[aria-invalid]").setAttribute("aria-invalid", "false");
  }
  render();
}

function busy(is) {
  show("stop", is);
  show("write", !is);
  show("caret", is);
  byId("paper").setAttribute("aria-busy", String(is));
}

function complain(problem) {
  show("problem", true);
  byId("problem").textContent = `${problem.message} ${problem.remedy || ""}`;
  const name = (problem.field || "").split(".").pop();
  if (name) mark(name, problem.message);
  if (!written) show("blank", true);
}

function mark(name, message) {
  const input = form.elements[name];
  const field = input && input.closest && input.closest(".field");
  if (!field) return;
  field.classList.add("wrong");
  input.setAttribute("aria-invalid", "true");
  const complaint = field.querySelector(".complaint");
  complaint.textContent = message;
  complaint.hidden = false;
  const fold = field.closest("details");
  if (fold) fold.open = true;
}

function showHeader(header) {
  skip = header.skip;
  byId("title").textContent = header.title;
  show("title", header.title);
  const parts = header.date ? [["", header.date]] : [];
  for (const tag of header.tags) parts.push(["tag", tag]);
  byId("meta").replaceChildren(...parts.map(([kind, content]) => {
    const part = document.createElement("span");
    part.className = kind;
    part.textContent = content;
    return part;
  }));
  show("meta", parts.length);
  render();
}

function finish(facts) {
  show("after", written.length > 0);
  byId("facts").textContent = facts;
  const field = form.elements.seed;
  byId("keep").textContent = `Keep seed ${seed}`;
  show("keep", seed && field.value !== seed);
}

async function write() {
  const body = new FormData(form);
  prompt = form.elements.prompt.value;
  clear();
  stopper = new AbortController();
  busy(true);
  if (byId("paper").getBoundingClientRect().top > window.innerHeight * 0.8) byId("paper").scrollIntoView({ behavior: "smooth", block: "start" });
  let who = "";
  let facts = "Stopped.";
  try {
    const response = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/event-stream" }, signal: stopper.signal });
    if (!response.ok) {
      const answer = await response.json();
      if (answer.problems) {
        for (const [name, message] of Object.entries(answer.problems)) mark(name, message);
        complain({ message: "Something in the form needs another look." });
      } else complain(answer);
      return;
    }
    await read(response, {
      start: (start) => { seed = start.seed; who = `${start.model}, version ${start.version}, seed ${seed}. `; },
      text: (more) => { written += more; render(); },
      header: showHeader,
      originality: showOriginality,
      end: (end) => { facts = [end.reason, `${end.tokens} in ${end.seconds}${end.speed ? `, ${end.speed}` : ""}.`].join(" "); },
      problem: complain,
    });
  } catch (error) {
    if (error.name !== "AbortError") complain({ message: "The connection broke.", remedy: "Press Write to try again." });
  } finally {
    busy(false);
    if (written.length > prompt.length) finish(who + facts);
  }
}

if (form) {
  form.addEventListener("submit", (event) => { event.preventDefault(); write(); });
  form.elements.prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); write(); }
  });
  byId("stop").addEventListener("click", () => stopper.abort());
  byId("again").addEventListener("click", () => { if (form.elements.seed.value === seed) form.elements.seed.value = ""; write(); });
  byId("keep").addEventListener("click", () => { form.elements.seed.value = seed; show("keep", false); });
  if (!navigator.clipboard) show("copy", false); // browsers offer it to secure pages and to this machine only
  byId("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(written.slice(skip));
    byId("copy").textContent = "Copied";
    setTimeout(() => { byId("copy").textContent = "Copy"; }, 1500);
  });
  byId("download").addEventListener("submit", () => { byId("download").elements.text.value = written; });
}
