"use strict";

// Charts: draws each figure with Plotly, in the colors of the theme, with controls in its caption.
const readJson = (id) => JSON.parse(document.getElementById(id).textContent);
const template = readJson("template");
const darkColors = new Map(Object.values(readJson("colors")));

// Return a copy with the dark theme's colors. Arrays of numbers are returned as they are, for speed.
function toDark(value) {
  if (typeof value === "string") return darkColors.get(value) ?? value;
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) {
    return typeof value[0] === "number" && typeof value.at(-1) === "number" ? value : value.map(toDark);
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toDark(item)]));
}

// Plotly writes arrays of NumPy as base64.
const ARRAY_TYPES = {
  f4: Float32Array, f8: Float64Array, i1: Int8Array, i2: Int16Array, i4: Int32Array,
  u1: Uint8Array, u2: Uint16Array, u4: Uint32Array,
};
function toArray(values) {
  if (!values?.bdata) return values ?? [];
  return new ARRAY_TYPES[values.dtype](Uint8Array.from(atob(values.bdata), (c) => c.charCodeAt(0)).buffer);
}

// Exponential moving average without the bias towards the first value, as in W&B's charts. It starts
// again where x is missing, which separates the lines of a trace.
function smooth(values, weight, x) {
  let mean = 0;
  let total = 0;
  const positions = toArray(x);
  return Array.from(toArray(values), (value, index) => {
    if (positions[index] === null || Number.isNaN(positions[index])) mean = total = 0;
    if (value === null || Number.isNaN(value)) return value;
    mean = weight * mean + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return mean / total;
  });
}

const MIN_TICK_PIXELS = 16;
const X_TITLES = { epoch: "epoch", seconds: "training time (s)", samples: "training samples" };

const choicesOf = ({ views, xAxes, hasLogScale, hasSmoothing }) => JSON.stringify([Object.keys(views), Object.keys(xAxes), hasLogScale, hasSmoothing]);

class Chart {
  constructor(figure, content) {
    this.figure = figure;
    this.plot = figure.querySelector(".plot");
    this.settings = { view: null, x: null, smoothing: 0, isLog: content.layout.yaxis?.type === "log" };
    this.content = content;
    this.addControls();
  }

  addControls() {
    const { views, xAxes, hasLogScale, hasSmoothing } = this.content;
    const settings = this.settings;
    this.choices = choicesOf(this.content);
    const controls = Object.assign(document.createElement("span"), { className: "chart-controls" });
    controls.dataset.keep = "";
    controls.id = `controls-${this.figure.id}`;  // live pages tell it from other elements by it
    if (hasSmoothing) {
      const label = Object.assign(document.createElement("label"), { className: "smoothing", textContent: "Smoothing" });
      const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 0.98, step: 0.02, value: 0 });
      const value = Object.assign(document.createElement("span"), { textContent: "0.00" });
      slider.addEventListener("input", () => {
        settings.smoothing = Number(slider.value);
        value.textContent = settings.smoothing.toFixed(2);
        this.draw();
      });
      label.append(value, slider);
      controls.append(label);
    }
    const names = Object.keys(xAxes);
    if (names.length > 1) this.addSwitch(controls, "X axis", names, (name) => { settings.x = name; });
    if (hasLogScale) this.addSwitch(controls, "Y axis", ["Linear", "Log"], (name) => { settings.isLog = name === "Log"; }, Number(settings.isLog));
    if (Object.keys(views).length) this.addSwitch(controls, "Show", Object.keys(views), (name) => { settings.view = name; });
    settings.view = Object.keys(views)[0] ?? null;
    settings.x = names[0] ?? null;
    settings.smoothing = 0;
    if (controls.childElementCount) this.figure.querySelector("figcaption").append(controls);
  }

  addSwitch(controls, label, names, choose, pressed = 0) {
    const group = Object.assign(document.createElement("span"), { className: "switch" });
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", label);
    const buttons = names.map((name, index) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
      button.setAttribute("aria-pressed", String(index === pressed));
      button.addEventListener("click", () => {
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
        choose(name);
        this.draw();
      });
      return button;
    });
    group.append(...buttons);
    controls.append(group);
  }

  traces() {
    const { data, views, xAxes } = this.content;
    const { view, x, smoothing } = this.settings;
    const isDefaultX = x === null || x === Object.keys(xAxes)[0];
    const changes = view === null ? {} : views[view].data ?? {};
    return data.flatMap((original, index) => {
      const trace = { ...original, ...changes };
      if (trace.dimensions) trace.dimensions = this.brushedDimensions(trace.dimensions);
      if (!isDefaultX) trace.x = Array.isArray(xAxes[x][0]) ? xAxes[x][index] : xAxes[x];
      if (!smoothing || !trace.mode?.includes("lines")) return [trace];
      const faint = { ...trace, opacity: 0.25, hoverinfo: "skip", hovertemplate: undefined, showlegend: false };
      return [faint, { ...trace, y: smooth(trace.y, smoothing, trace.x) }];
    });
  }

  // Copy the dimensions of parallel coordinates with the ranges that the reader has brushed.
  brushedDimensions(dimensions) {
    const ranges = new Map(this.plot.data?.[0].dimensions.map(({ label, constraintrange }) => [label, constraintrange]));
    return dimensions.map((dimension) => ({ ...dimension, constraintrange: ranges.get(dimension.label) }));
  }

  // Leave out names for which a narrow window has no room; Plotly draws all that are given.
  thinTicks(axis) {
    const positions = [...toArray(axis.tickvals)];
    const step = Math.ceil((MIN_TICK_PIXELS * positions.length) / (this.plot.clientWidth || Infinity));
    if (step < 2) return axis;
    const keep = (_, index) => index % step === 0;
    return { ...axis, tickvals: positions.filter(keep), ticktext: axis.ticktext.filter(keep) };
  }

  layout(size) {
    const { layout, views, xAxes } = this.content;
    const { view, x, isLog } = this.settings;
    const font = { family: getComputedStyle(document.body).fontFamily };
    const result = {
      ...layout, ...(view === null ? {} : views[view].layout), ...size,
      autosize: true, template, font, uirevision: `${view} ${x} ${isLog}`,
      hoverlabel: { ...layout.hoverlabel, font },
    };
    if (result.xaxis?.tickvals) result.xaxis = this.thinTicks(result.xaxis);
    if (this.plot.clientWidth < 480 && this.content.data.length > 40) result.showlegend = false;  // no room
    result.dragmode ??= matchMedia("(pointer: coarse)").matches ? false : "zoom";
    if (isLog) result.yaxis = { ...result.yaxis, type: "log", rangemode: undefined };
    else if (result.yaxis?.type === "log") result.yaxis = {};
    if (x !== null && x !== Object.keys(xAxes)[0]) {
      result.xaxis = { ...result.xaxis, title: { text: X_TITLES[x] }, dtick: undefined, nticks: 6, hoverformat: ".4~s", tickformat: ".3~s" };
      result.shapes = result.annotations = [];  // they are at positions of the other axis
    }
    return result;
  }

  update(content) {
    this.content = content;
    if (choicesOf(content) !== this.choices) {
      document.getElementById(`controls-${this.figure.id}`)?.remove();
      this.addControls();
    }
    return this.draw();
  }

  async draw(size = {}) {
    const adapt = isDark() && !printMedia.matches ? toDark : (value) => value;
    const config = { displayModeBar: false, responsive: true, showTips: false };
    await Plotly.react(this.plot, adapt(this.traces()), adapt(this.layout(size)), config);
    if (!this.figure.classList.contains("drawn")) {
      this.figure.classList.add("drawn");
      if (this.content.cards) this.showCards();
      if (this.content.rows) this.plot.on("plotly_restyle", () => this.sendBrush());
    }
    if (this.content.rows) this.sendBrush();
  }

  // Show the image and the prediction of the sample under the pointer.
  showCards() {
    this.plot.on("plotly_hover", ({ points: [point] }) => {
      const { cards, sheet } = this.content;
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

  // Announce the rows whose lines, each of one or more rows, pass through the brushed ranges of
  // parallel coordinates.
  sendBrush() {
    const brushed = this.plot.data[0].dimensions.filter((dimension) => dimension.constraintrange);
    const isSelected = ({ constraintrange }, value) => {
      const ranges = Array.isArray(constraintrange[0]) ? constraintrange : [constraintrange];
      return ranges.some(([low, high]) => value >= low && value <= high);
    };
    const columns = brushed.map((dimension) => toArray(dimension.values));
    const selected = this.content.rows.filter((_, i) => brushed.every((dimension, d) => isSelected(dimension, columns[d][i])));
    const note = this.figure.querySelector(".note");
    if (note) note.dataset.left = brushed.length ? `${selected.length} of ${this.content.rows.length} selected.` : "";
    const detail = { chart: this.figure.id.slice("chart-".length), rows: brushed.length ? new Set(selected.flat().map(String)) : null };
    document.dispatchEvent(new CustomEvent("brushed", { detail }));
  }
}

const charts = new Map();
const printMedia = matchMedia("print");

// Draw charts by name, new ones and those whose content has changed.
async function drawCharts(contents) {
  for (const [name, content] of Object.entries(contents)) {
    const figure = document.getElementById(`chart-${name}`);
    if (!figure) continue;
    const chart = charts.get(name);
    if (chart?.figure === figure) {
      await chart.update(content);
    } else {
      charts.set(name, new Chart(figure, content));
      await charts.get(name).draw();
    }
    await new Promise((next) => setTimeout(next));  // keep the page responsive in between
  }
}

const drawAll = (size) => Promise.all([...charts.values()].map((chart) => chart.draw(size?.(chart))));
document.addEventListener("theme", () => drawAll());

// In print, charts take the width of the paper and the colors of the light theme.
printMedia.addEventListener("change", () => {
  drawAll(printMedia.matches ? (chart) => ({ width: chart.plot.clientWidth }) : undefined);
});

const payload = readJson("payload");
drawCharts(payload.charts).then(() => { document.documentElement.dataset.drawn = "all"; });
