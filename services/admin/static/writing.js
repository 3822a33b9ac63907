// Has a whole post written: sends the form, shows a clock while it is written, then goes to the post.

import { read } from "./events.js";

const note = document.getElementById("writing");
const clock = document.getElementById("clock");
const problem = document.getElementById("problem");
const forms = document.querySelectorAll("form[data-writing]");
const LOST = { message: "The connection broke.", remedy: "Look on the shelf in a while: the post may get there all the same." };

function passed(seconds) {
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

function busy(is) {
  note.hidden = !is;
  for (const form of forms) for (const button of form.querySelectorAll("button")) button.disabled = is;
}

function mark(form, name, message) {
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

function clear(form) {
  problem.hidden = true;
  for (const field of form.querySelectorAll(".wrong")) {
    field.classList.remove("wrong");
    field.querySelector(".complaint").hidden = true;
    field.querySelector("[aria-invalid]").setAttribute("aria-invalid", "false");
  }
}

function complain(form, found) {
  problem.textContent = `${found.message} ${found.remedy || ""}`;
  problem.hidden = false;
  const name = (found.field || "").split(".").pop();
  if (name) mark(form, name, found.message);
}

async function write(form) {
  const body = new FormData(form);
  clear(form);
  busy(true);
  const began = Date.now();
  const tick = () => { clock.textContent = passed(Math.round((Date.now() - began) / 1000)); };
  tick();
  const ticking = setInterval(tick, 1000);
  let is_told = false;
  try {
    const response = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/event-stream" } });
    if (!response.ok) {
      const answer = await response.json();
      is_told = true;
      if (answer.problems) {
        for (const [name, message] of Object.entries(answer.problems)) mark(form, name, message);
        complain(form, { message: "Something in the form needs another look." });
      } else complain(form, answer);
      return;
    }
    await read(response, {
      shelved: ({ address }) => { is_told = true; window.location.assign(address); },
      problem: (found) => { is_told = true; complain(form, found); },
    });
  } catch {
    // said below
  } finally {
    clearInterval(ticking);
    busy(false);
    if (!is_told) complain(form, LOST);
  }
}

for (const form of forms) form.addEventListener("submit", (event) => { event.preventDefault(); write(form); });
// The browser's way back shows the page as it was left.
window.addEventListener("pageshow", () => busy(false));
