// What the charts of runs have in common: the colours of the page, axes, and how many points are drawn.

const MOST_POINTS = 1500; // more cannot be told apart on a screen

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Keep the first, the last and evenly spaced points between. Always a new array: plotly compares by identity.
export function thin(values) {
  const stride = Math.max(1, Math.ceil(values.length / MOST_POINTS));
  return values.filter((_, index) => index % stride === 0 || index === values.length - 1);
}

export function axis(more = {}) {
  return { gridcolor: colour("--line"), zeroline: false, linecolor: colour("--line"), tickfont: { color: colour("--faint") }, ...more };
}

// Draw lines over steps into the element of that id. `more` goes over the layout.
export function draw(id, lines, lastStep, more = {}) {
  const box = document.getElementById(id);
  if (!box.data) box.replaceChildren();
  const traces = lines.map((line) => ({ type: "scatter", mode: "lines", hovertemplate: "%{y:.3f}", ...line }));
  const layout = {
    margin: { l: 44, r: 12, t: 8, b: 40 },
    height: Math.min(340, Math.max(240, box.clientWidth * 0.45)),
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("--ink") },
    legend: { orientation: "h", x: 1, xanchor: "right", y: 1.0, yanchor: "top", bgcolor: "transparent" },
    hovermode: "x unified",
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    xaxis: axis({ title: { text: "Step", standoff: 8 }, rangemode: "tozero", showgrid: false, tickformat: ",d", dtick: lastStep < 8 ? 1 : undefined }),
    yaxis: axis({ title: { text: "" } }),
    uirevision: "keep", // a reader who zoomed in stays there
    ...more,
  };
  window.Plotly.react(id, traces, layout, { responsive: true, displayModeBar: false });
}

// The point of the lowest loss, as a star on its curve.
export function star(steps, losses, more = {}) {
  const lowest = losses.reduce((best, loss, index) => (loss !== null && (best < 0 || loss < losses[best]) ? index : best), -1);
  return {
    x: lowest < 0 ? [] : [steps[lowest]],
    y: lowest < 0 ? [] : [losses[lowest]],
    mode: "markers",
    marker: { symbol: "star", size: 14 },
    hovertemplate: "%{y:.3f} is the lowest",
    ...more,
  };
}
