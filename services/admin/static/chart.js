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

function steps(more = {}) {
  return axis({ title: { text: "Step", standoff: 8 }, rangemode: "tozero", showgrid: false, tickformat: ",d", ...more });
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
    xaxis: steps({ dtick: lastStep < 8 ? 1 : undefined }),
    yaxis: axis({ title: { text: "" } }),
    uirevision: "keep", // a reader who zoomed in stays there
    ...more,
  };
  window.Plotly.react(id, traces, layout, { responsive: true, displayModeBar: false });
}

// Room below the loss for recited shares, over the same steps; none where nothing was measured. For `more` of draw.
export function recitedBelow(shares) {
  if (!shares.length) return {};
  // A few per cent are worth seeing, and are not to look like all of it.
  const top = [0.1, 0.25, 0.5, 1].find((most) => Math.max(...shares) <= most);
  const share = { domain: [0, 0.22], range: [-0.04 * top, 1.04 * top], tickvals: [0, top / 2, top], tickformat: ".2~p", fixedrange: true };
  return {
    height: 400,
    margin: { l: 52, r: 12, t: 8, b: 40 },
    hoversubplots: "axis",
    yaxis: axis({ domain: [0.32, 1] }),
    yaxis2: axis(share),
    xaxis: steps({ anchor: "y2" }),
    annotations: [{ text: "Recited", xref: "paper", yref: "paper", x: 0, y: 0.22, xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 12, color: colour("--faint") } }],
  };
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
