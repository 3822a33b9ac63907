// The game by keyboard: an arrow chooses, Enter goes on. Buttons and links work without this.

const form = document.getElementById("round");
const next = document.getElementById("next");
let sent = false;

form.addEventListener("submit", (event) => {
  if (sent) event.preventDefault(); // a second press while the answer is on its way
  sent = true;
});

window.addEventListener("pageshow", () => { sent = false; }); // back from the answer

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.repeat) return;
  if (event.target.closest("input, select, textarea, summary")) return;
  const side = { ArrowLeft: "left", ArrowRight: "right" }[event.key];
  if (next) {
    if (event.key === "Enter" && !event.target.closest("a, button")) next.click();
  } else if (side) {
    event.preventDefault();
    form.requestSubmit(form.querySelector(`button[value=${side}]`));
  }
});
