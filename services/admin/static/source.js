// The post that a piece of a text was borrowed from, shown beside the text; see borrowed.py for what a run is.

const byId = (id) => document.getElementById(id);

// Shows the source of a run when its mark is pointed at, chosen or clicked. `mark` stands in `text`.
export function leadsTo(mark, run, text) {
  for (const kind of ["mouseenter", "focus", "click"]) mark.addEventListener(kind, () => show(mark, run, text));
}

function show(mark, run, text) {
  for (const other of text.querySelectorAll(".chosen")) other.classList.remove("chosen");
  mark.classList.add("chosen");
  byId("source-title").textContent = run.title;
  const others = run.others === 1 ? " It stands in one more place." : run.others ? ` It stands in ${run.others} more places.` : "";
  byId("source-facts").textContent = `${run.length} of this post.${others}`;
  const same = document.createElement("mark");
  same.textContent = run.text;
  const excerpt = byId("source-text");
  excerpt.replaceChildren(run.begins ? "" : "… ", run.before, same, run.after, " …");
  byId("source").hidden = false;
  excerpt.scrollTop = Math.max(0, same.offsetTop - excerpt.offsetTop - 30);
}
