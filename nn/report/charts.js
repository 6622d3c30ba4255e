"use strict";

// Draws each chart with Plotly from its embedded JSON, in the theme colors of page.css.
const probe = document.createElement("i");
probe.hidden = true;
document.body.append(probe);

// Return a cached function from the name of a CSS variable to its color in the current theme.
function createColorResolver() {
  const cache = new Map();
  return (name) => {
    if (!cache.has(name)) {
      probe.style.color = `var(${name})`;
      cache.set(name, getComputedStyle(probe).color);
    }
    return cache.get(name);
  };
}

// Replace {"$": variable} by its color. Long arrays of numbers are returned as they are, for speed.
function resolveColors(value, color) {
  if (Array.isArray(value)) {
    const isPlain = [value[0], value.at(-1)].every((item) => typeof item !== "object");
    return isPlain ? value : value.map((item) => resolveColors(item, color));
  }
  if (value === null || typeof value !== "object") return value;
  if (typeof value.$ === "string") return color(value.$);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolveColors(item, color)]));
}

function deepMerge(base, update) {
  const result = { ...base };
  for (const [key, value] of Object.entries(update)) {
    const both = [base[key], value].every((item) => item && typeof item === "object" && !Array.isArray(item));
    result[key] = both ? deepMerge(base[key], value) : value;
  }
  return result;
}

function styledLayout(layout, color) {
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("--muted") };
  const axis = {
    automargin: true, gridcolor: color("--rule"), linecolor: color("--rule"), zerolinecolor: color("--rule"),
    tickfont: { color: color("--muted") }, title: { font: { color: color("--muted"), size: 12 }, standoff: 8 },
  };
  const base = {
    font,
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 8, r: 12, t: 8, b: 8 },
    showlegend: false,
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    legend: { font: { color: color("--ink") }, orientation: "h", y: -0.02, itemsizing: "constant" },
    hoverlabel: {
      bgcolor: color("--raised"), bordercolor: color("--rule"), font: { family: font.family, size: 13, color: color("--ink") },
      align: "left",
    },
    xaxis: axis,
    yaxis: axis,
  };
  if (layout.yaxis2) base.yaxis2 = axis;
  const result = deepMerge(base, layout);
  if (result.xaxis.showgrid === undefined) result.xaxis = { ...result.xaxis, showgrid: false };
  return result;
}

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.plot = figure.querySelector(".plot");
    this.content = JSON.parse(figure.querySelector(".chart-data").textContent);
    this.view = 0;
    figure.querySelectorAll(".switch button").forEach((button, index, buttons) => {
      button.addEventListener("click", () => {
        this.view = index;
        buttons.forEach((other, i) => other.setAttribute("aria-pressed", String(i === index)));
        this.draw();
      });
    });
  }

  async draw(layoutUpdate = {}) {
    const color = createColorResolver();
    const view = this.content.views[this.view] ?? { traces: [], layout: {} };
    const traces = this.content.traces.map((trace, i) => deepMerge(trace, view.traces[i] ?? {}));
    const layout = deepMerge(deepMerge(this.content.layout, view.layout), layoutUpdate);
    const config = { displayModeBar: false, responsive: true, showTips: false };
    await Plotly.react(this.plot, resolveColors(traces, color), styledLayout(resolveColors(layout, color), color), config);
    if (!this.figure.classList.contains("drawn")) {
      this.figure.classList.add("drawn");
      if (this.content.cards) this.showCards();
      if (this.content.brushes) this.followBrushes();
    }
  }

  // Show the image and the prediction of the sample under the pointer.
  showCards() {
    const { cards, sheet } = this.content;
    this.plot.on("plotly_hover", ({ points: [point] }) => {
      const index = point.customdata;
      const { x0, x1, y0, y1 } = point.bbox;  // relative to the plot
      const { left, top } = this.plot.getBoundingClientRect();
      const box = { left: left + x0, width: x1 - x0, top: top + y0, bottom: top + y1 };
      showCard(box, cards[index], sheet && this.picture(sheet, index));
    });
    this.plot.on("plotly_unhover", hideCard);
  }

  // Create an element that shows one image of the sprite sheet.
  picture(sheet, index) {
    const side = 112;
    const picture = document.createElement("div");
    const [width, height] = sheet.ratio > 1 ? [side, side / sheet.ratio] : [side * sheet.ratio, side];
    const [x, y] = [index % sheet.columns, Math.floor(index / sheet.columns)];
    Object.assign(picture.style, {
      width: `${width}px`,
      height: `${height}px`,
      backgroundImage: `url(${sheet.address})`,
      backgroundSize: `${sheet.columns * width}px ${sheet.rows * height}px`,
      backgroundPosition: `${-x * width}px ${-y * height}px`,
    });
    picture.className = "picture";
    return picture;
  }

  // Filter the rows of a table by the ranges that are brushed in parallel coordinates.
  followBrushes() {
    const { rows, table } = this.content.brushes;
    this.plot.on("plotly_restyle", () => {
      const brushed = this.plot.data[0].dimensions.filter((dimension) => dimension.constraintrange);
      const isSelected = ({ constraintrange }, value) => {
        const ranges = Array.isArray(constraintrange[0]) ? constraintrange : [constraintrange];
        return ranges.some(([low, high]) => value >= low && value <= high);
      };
      const selected = rows.filter((_, i) => brushed.every((dimension) => isSelected(dimension, dimension.values[i])));
      const note = this.figure.querySelector(".note");
      if (note) note.dataset.left = brushed.length ? `${selected.length} of ${rows.length} trials selected.` : "";
      const detail = { table, rows: brushed.length ? new Set(selected.map(String)) : null };
      document.dispatchEvent(new CustomEvent("brushed", { detail }));
    });
  }
}

const charts = [...document.querySelectorAll("figure.chart")].map((figure) => new Chart(figure));
const drawn = (async () => {
  for (const chart of charts) {
    await chart.draw();
    await new Promise((next) => setTimeout(next));  // keep the page responsive in between
  }
  document.documentElement.dataset.drawn = "all";
})();

document.addEventListener("theme", () => drawn.then(() => charts.forEach((chart) => chart.draw())));

// In print, charts take the width of the paper and the colors of the light theme.
const printMedia = matchMedia("print");
printMedia.addEventListener("change", () => {
  for (const chart of charts) chart.draw(printMedia.matches ? { width: chart.plot.clientWidth } : {});
});
