// A post of the shelf: each borrowed piece shows the post that it stands in.

import { leadsTo } from "./source.js";

const runs = document.getElementById("runs");
const paper = document.querySelector(".paper");

if (runs) {
  const told = JSON.parse(runs.textContent);
  for (const mark of paper.querySelectorAll("mark")) {
    mark.removeAttribute("title"); // it is for readers without a script
    leadsTo(mark, told[Number(mark.dataset.run)], paper);
  }
}
