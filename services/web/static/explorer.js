// The interactive explorer: plotly draws what /api/v1/telemetry gives, and asks again when zoomed.
"use strict";
const box = document.querySelector("[data-plot]");
const UNITS = { degC: "°C", "e-": "e⁻" };
// plotly knows no zones and shows what it is given: UTC without its Z.
const utc = time => time.replace("Z", "");
// What a colour of the style sheet is in the theme of now.
const colour = name => {
  const el = document.body.appendChild(document.createElement("i"));
  el.style.color = `var(${name})`;
  const found = getComputedStyle(el).color;
  el.remove();
  return found;
};

async function load(start, stop) {
  const url = new URL(box.dataset.plot, location);
  if (start) { url.searchParams.set("start", start); url.searchParams.set("stop", stop); }
  const r = await fetch(url);
  if (!r.ok) throw new Error((await r.json()).error);
  return r.json();
}

function traces(found) {
  return found.msids.map((m, n) => ({
    x: m.times.map(utc), y: m.values, name: m.msid, type: "scatter", mode: "lines", xaxis: "x",
    yaxis: n ? `y${n + 1}` : "y", line: { width: 1.2, color: colour("--s1") },
    hovertemplate: `%{x|%Y:%j %H:%M:%S}  %{y}<extra>${m.msid}</extra>`,
  }));
}

function layout(found) {
  const n = found.msids.length, grid = colour("--line");
  const made = {
    height: 60 + 190 * n, margin: { l: 84, r: 16, t: 8, b: 40 }, showlegend: false,
    paper_bgcolor: "transparent", plot_bgcolor: "transparent", font: { color: colour("--ink2"), size: 12 },
    hovermode: "x", dragmode: "zoom",
    modebar: { bgcolor: "transparent", color: colour("--ink3"), activecolor: colour("--link") },
    xaxis: {
      type: "date", gridcolor: grid, hoverformat: "%Y:%j %H:%M:%S", tickformat: "%H:%M:%S\n%Y:%j",
      range: [found.from, found.to].map(utc), anchor: n > 1 ? `y${n}` : "y",
    },
  };
  found.msids.forEach((m, k) => {
    const top = 1 - k / n;
    made[k ? `yaxis${k + 1}` : "yaxis"] = {
      domain: [top - 0.88 / n, top - 0.04 / n], gridcolor: grid, zeroline: false,
      title: { text: m.unit ? `${m.msid}, ${UNITS[m.unit] ?? m.unit}` : m.msid },
    };
  });
  return made;
}

async function draw() {
  const found = await load();
  await Plotly.newPlot(box, traces(found), layout(found), {
    responsive: true, displaylogo: false, showSendToCloud: false, modeBarButtonsToRemove: ["sendChartToCloud"],
  });
  let asked = 0;
  box.on("plotly_relayout", async change => {
    const zoomed = change["xaxis.range[0]"], back = change["xaxis.autorange"];
    if (!zoomed && !back) return;
    const mine = ++asked;
    const iso = t => `${String(t).replace(" ", "T").slice(0, 23)}`;  // plotly writes ISO with a blank
    const finer = zoomed ? await load(iso(zoomed), iso(change["xaxis.range[1]"])) : found;
    if (mine === asked) Plotly.react(box, traces(finer), { ...box.layout, datarevision: mine });
  });
}
// The plot keeps the colours that it was drawn with.
document.querySelector("[data-theme-toggle]").addEventListener("click", () => location.reload());
draw().catch(e => { box.textContent = `The data could not be loaded: ${e.message}`; });
