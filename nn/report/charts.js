"use strict";

// Charts: plotly draws what stands beside each, in the colours of the style sheet.
const probe = document.createElement("i");
probe.hidden = true;
document.body.append(probe);

function palette() {
  const known = new Map();
  return (name) => {
    if (!known.has(name)) {
      probe.style.color = `var(${name})`;
      known.set(name, getComputedStyle(probe).color);
    }
    return known.get(name);
  };
}

// Put colours in the place of their names; long lists of numbers are left as they are.
function coloured(value, ink) {
  if (Array.isArray(value)) {
    const plain = [value[0], value.at(-1)].every((each) => typeof each !== "object");
    return plain ? value : value.map((each) => coloured(each, ink));
  }
  if (value === null || typeof value !== "object") return value;
  if (typeof value.$ === "string") return ink(value.$);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, coloured(each, ink)]));
}

function merged(base, over) {
  const result = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const both = [base[key], value].every((each) => each && typeof each === "object" && !Array.isArray(each));
    result[key] = both ? merged(base[key], value) : value;
  }
  return result;
}

function styledLayout(layout, ink) {
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink("--muted") };
  const axis = {
    automargin: true, gridcolor: ink("--rule"), linecolor: ink("--rule"), zerolinecolor: ink("--rule"),
    tickfont: { color: ink("--muted") }, title: { font: { color: ink("--muted"), size: 12 }, standoff: 8 },
  };
  const base = {
    font,
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 8, r: 12, t: 8, b: 8 },
    showlegend: false,
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    legend: { font: { color: ink("--ink") }, orientation: "h", y: -0.02, itemsizing: "constant" },
    hoverlabel: {
      bgcolor: ink("--raised"), bordercolor: ink("--rule"), font: { family: font.family, size: 13, color: ink("--ink") },
      align: "left",
    },
    xaxis: axis,
    yaxis: axis,
  };
  if (layout.yaxis2) base.yaxis2 = axis;
  const result = merged(base, layout);
  if (result.xaxis.showgrid === undefined) result.xaxis = { ...result.xaxis, showgrid: false };
  return result;
}

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.plot = figure.querySelector(".plot");
    this.given = JSON.parse(figure.querySelector(".chart-data").textContent);
    this.view = 0;
    figure.querySelectorAll(".switch button").forEach((button, place, all) => {
      button.addEventListener("click", () => {
        this.view = place;
        all.forEach((each, at) => each.setAttribute("aria-pressed", String(at === place)));
        this.draw();
      });
    });
  }

  async draw(over = {}) {
    const ink = palette();
    const view = this.given.views[this.view] ?? { traces: [], layout: {} };
    const traces = this.given.traces.map((trace, at) => merged(trace, view.traces[at] ?? {}));
    const layout = merged(merged(this.given.layout, view.layout), over);
    const config = { displayModeBar: false, responsive: true, showTips: false };
    await Plotly.react(this.plot, coloured(traces, ink), styledLayout(coloured(layout, ink), ink), config);
    if (!this.figure.classList.contains("drawn")) {
      this.figure.classList.add("drawn");
      if (this.given.cards) this.showCards();
      if (this.given.brushes) this.followBrushes();
    }
  }

  // A hovered sample shows its image.
  showCards() {
    const { cards, sheet } = this.given;
    this.plot.on("plotly_hover", ({ points: [point] }) => {
      const number = point.customdata;
      const box = point.bbox;
      const within = this.plot.getBoundingClientRect();
      const at = { left: within.left + box.x0, width: box.x1 - box.x0, top: within.top + box.y0, bottom: within.top + box.y1 };
      showCard(at, cards[number], sheet && this.picture(sheet, number));
    });
    this.plot.on("plotly_unhover", hideCard);
  }

  picture(sheet, number) {
    const side = 112;
    const picture = document.createElement("div");
    const [width, height] = sheet.ratio > 1 ? [side, side / sheet.ratio] : [side * sheet.ratio, side];
    const [x, y] = [number % sheet.columns, Math.floor(number / sheet.columns)];
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

  // Ranges that are brushed choose the rows of a table.
  followBrushes() {
    const { rows, table } = this.given.brushes;
    const follow = () => {
      const chosen = this.plot.data[0].dimensions.filter((each) => each.constraintrange);
      const within = (each, value) => {
        const ranges = Array.isArray(each.constraintrange[0]) ? each.constraintrange : [each.constraintrange];
        return ranges.some(([low, high]) => value >= low && value <= high);
      };
      const left = rows.filter((_, at) => chosen.every((each) => within(each, each.values[at])));
      const said = this.figure.querySelector(".note");
      if (said) said.dataset.left = chosen.length ? `${left.length} of ${rows.length} trials are chosen.` : "";
      const detail = { table, rows: chosen.length ? new Set(left.map(String)) : null };
      document.dispatchEvent(new CustomEvent("brushed", { detail }));
    };
    this.plot.on("plotly_restyle", follow);
  }
}

const charts = [...document.querySelectorAll("figure.chart")].map((figure) => new Chart(figure));
const drawn = (async () => {
  for (const chart of charts) {
    await chart.draw();
    await new Promise((next) => setTimeout(next));  // the page answers in between
  }
  document.documentElement.dataset.drawn = "all";
})();

document.addEventListener("theme", () => drawn.then(() => charts.forEach((chart) => chart.draw())));

// On paper charts are as wide as the paper, and dark on light.
const paper = matchMedia("print");
paper.addEventListener("change", () => {
  for (const chart of charts) chart.draw(paper.matches ? { width: chart.plot.clientWidth } : {});
});
