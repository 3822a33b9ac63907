// Runs on one chart: a colour for each, its average loss as a line and its loss on unread posts dotted; below, what of
// its samples is recited.

import { colour, draw, recitedBelow, star } from "./chart.js";

const curves = JSON.parse(document.getElementById("chart").dataset.curves);
const NAMES = ["--accent", "--chart-other", "--good", "--bad", "--faint", "--chart-faint"];

function drawAll() {
  if (!window.Plotly) return;
  const lines = curves.flatMap((curve, index) => {
    const own = colour(NAMES[index % NAMES.length]);
    const group = { legendgroup: curve.name };
    return [
      { ...group, x: curve.step, y: curve.average, name: curve.name, line: { color: own, width: 2.2 } },
      { ...group, x: curve.validation_step, y: curve.validation, name: `${curve.name}, unread posts`, showlegend: false, line: { color: own, width: 1.6, dash: "dot" } },
      { ...group, ...star(curve.validation_step, curve.validation), showlegend: false, name: `${curve.name}, best`, marker: { symbol: "star", size: 13, color: own } },
      { ...group, x: curve.recited_step, y: curve.recited, name: `${curve.name}, recited`, yaxis: "y2", mode: "lines+markers", showlegend: false, line: { color: own, width: 1.8 }, marker: { size: 5 }, hovertemplate: "%{y:.0%}" },
    ];
  });
  draw("chart", lines, Math.max(...curves.map((curve) => curve.step.at(-1) ?? 0)), recitedBelow(curves.flatMap((curve) => curve.recited)));
}

window.addEventListener("load", drawAll);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
