"use strict";

// What explorable tables have in addition: filters, column choice, groups, ticked rows, a baseline and charts.
const MAX_CURVES = 50;
const MAX_POINTS = 2500;
const MAX_KEYS = 12;
const NUM_COLORS = 10;
const DASHES = ["solid", "dash", "dot", "dashdot"];
const DRAW_DELAY = 150;  // milliseconds, so that typing in the search field stays fast
const palette = readJson("colors");
const roleColor = (role) => palette[role][0];
const classColor = (number) => roleColor(`class-${number % NUM_COLORS}`);

// --- Filters: `adam val/accuracy>0.9 status:finished "two words"` ---

const UNITS = { "%": 0.01, ms: 0.001, s: 1, min: 60, h: 3600, "": 1 };

// Parse `0.9`, `90%`, `5min` or a date; null if it is none of these.
function parseNumber(column, text) {
  if (column.kind === "time" && /^\d{4}-\d/.test(text)) {
    const milliseconds = Date.parse(text.length > 10 ? text : `${text}T00:00`);
    return Number.isNaN(milliseconds) ? null : milliseconds / 1000;
  }
  const match = /^([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?) ?(%|ms|s|min|h|)$/i.exec(text);
  return match && Number((match[1] * UNITS[match[2].toLowerCase()]).toPrecision(15));  // 70% is 0.7
}

function findColumn(columns, name) {
  const normalize = (text) => text.toLowerCase().replace(/[\s_-]+/g, "");
  const exact = columns.find(({ key }) => key === name);
  if (exact) return exact;
  const wanted = normalize(name);
  return columns.find(({ key, title }) => normalize(key) === wanted || normalize(title) === wanted);
}

const ORDERS = { "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b };

// Return the test of a condition on a column, or a message if it is wrong.
function parseCondition(column, operator, text) {
  if (!text) return `${column.key}${operator}: the value is missing.`;
  const number = parseNumber(column, text);
  const valueOf = (row) => plainValue(column, row.values[column.index]);
  if (operator in ORDERS) {
    const isInOrder = ORDERS[operator];
    if (number === null) return `${column.key}${operator}${text}: not a number; an example is ${column.key}${operator}0.5.`;
    return (row) => { const value = valueOf(row); return isKnownNumber(value) && isInOrder(value, number); };
  }
  const lower = text.toLowerCase();
  const matches = (row) => {
    const value = valueOf(row);
    if (isKnownNumber(value) && number !== null && column.kind !== "time") {
      return formatValue(column, value) === formatValue(column, number);  // equal as far as it is shown
    }
    const shown = value === null ? "null" : formatValue(column, value).toLowerCase();
    return operator === ":" ? shown.includes(lower) : shown === lower;
  };
  return operator === "!=" ? (row) => !matches(row) : matches;
}

// Parse a filter into tests that a row must all pass, and a message about what was left out.
function parseFilter(text, columns) {
  const tests = [];
  let error = "";
  for (const token of text.match(/(?:"[^"]*"?|[^\s"])+/g) ?? []) {
    const match = /^("[^"]+"|[^":<>=!]+)(<=|>=|!=|[:<>=])(.*)$/.exec(token);
    const unquoted = (part) => part.replaceAll('"', "");
    if (!match) {
      const word = unquoted(token).toLowerCase();
      tests.push((row) => searchText(row, columns).includes(word));
      continue;
    }
    const name = unquoted(match[1]);
    const column = findColumn(columns, name);
    const test = column ? parseCondition(column, match[2], unquoted(match[3])) : unknownColumn(columns, name);
    if (typeof test === "string") error ||= test;
    else tests.push(test);
  }
  return { tests, error };
}

function unknownColumn(columns, name) {
  const similar = columns.filter(({ key }) => key.toLowerCase().includes(name.toLowerCase())).slice(0, 3);
  const hint = similar.length ? ` Similar: ${similar.map(({ key }) => key).join(", ")}.` : "";
  return `There is no column “${name}”.${hint}`;
}

// Return all values of a row as lower-case text.
function searchText(row, columns) {
  row.searchText ??= columns.map((column) => {
    const value = plainValue(column, row.values[column.index]);
    return value === null || column.kind === "sparkline" ? "" : isKnownNumber(value) ? value : formatSetting(value);
  }).join("\n").toLowerCase();
  return row.searchText;
}

// --- Statistics of groups ---

// Return the mean and the sample standard deviation of the known values.
function spread(values) {
  const known = values.filter(isKnownNumber);
  if (!known.length) return null;
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  if (known.length < 2) return { mean, deviation: null };
  const squares = known.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / (known.length - 1)) };
}

const X_NAMES = Object.keys(X_TITLES);

// Return the known points of a curve in the order of x.
function curvePoints(row, xName, yName) {
  const { [xName]: xs, [yName]: ys } = row.curves ?? {};
  if (!Array.isArray(xs) || !Array.isArray(ys)) return [];
  return ys.map((y, index) => [xs[index], y]).filter((point) => point.every(isKnownNumber)).sort(([a], [b]) => a - b);
}

// Interpolate linearly between points; null outside of them.
function interpolate(points, grid) {
  let next = 0;
  return grid.map((x) => {
    while (next < points.length && points[next][0] < x) next += 1;
    if (next === points.length || (next === 0 && points[0][0] > x)) return null;
    const [x1, y1] = points[next];
    if (x1 === x) return y1;
    const [x0, y0] = points[next - 1];
    return y0 + ((y1 - y0) * (x - x0)) / (x1 - x0);
  });
}

// Return the mean curve of rows, and its standard deviation at each x.
function meanCurve(rows, xName, yName) {
  const curves = rows.map((row) => curvePoints(row, xName, yName)).filter((points) => points.length);
  let grid = [...new Set(curves.flat().map(([x]) => x))].sort((a, b) => a - b);
  if (grid.length > 200) {
    const [low, high] = [grid[0], grid.at(-1)];
    grid = Array.from({ length: 200 }, (_, index) => low + ((high - low) * index) / 199);
  }
  const columns = curves.map((points) => interpolate(points, grid));
  const spreads = grid.map((_, index) => spread(columns.map((column) => column[index])));
  return grid.map((x, index) => ({ x, ...spreads[index] })).filter(({ mean }) => mean !== undefined);
}

// --- Elements ---

const button = (textContent, onclick, properties = {}) => create("button", { type: "button", textContent, onclick, ...properties });

function labelledSelect(label, onchange) {
  const select = create("select", { onchange, "aria-label": label });
  return { select, element: create("label", { className: "choice" }, `${label} `, select) };
}

// Replace the options of a select element, keeping the choice.
function fillSelect(select, options, fallback) {
  const key = JSON.stringify(options);
  if (select.optionsKey === key) return;
  const { value } = select;
  select.optionsKey = key;
  select.replaceChildren(...options.map(([name, textContent]) => create("option", { value: name, textContent })));
  select.value = options.some(([name]) => name === value) ? value : fallback ?? options[0]?.[0] ?? "";
}

const escapeLabel = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const shorten = (text, length = 40) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

const dashOf = (number) => DASHES[Math.floor(number / NUM_COLORS) % DASHES.length];

function colorKey(text, number) {
  const swatch = create("i");
  swatch.dataset.dash = dashOf(number);
  swatch.style.setProperty("--swatch", `var(--class-${number % NUM_COLORS})`);
  return create("span", { className: "key" }, swatch, shorten(text));
}

class ExplorableTable extends DataTable {
  build() {
    super.build();
    this.ticked = new Map();  // color number by id
    this.expanded = new Set();  // keys of groups
    this.baseline = null;
    this.brushed = null;
    this.charts = new Map();
    this.choice = this.loadChoice();
    this.search = create("input", { type: "search", placeholder: "Search or filter", "aria-label": `Search ${this.caption}` });
    this.search.addEventListener("input", () => { this.page = 0; this.refresh(); });
    this.search.addEventListener("focus", () => this.rows.forEach((row) => searchText(row, this.columns)));  // before the first key
    this.output = create("output", { "aria-live": "polite" });
    this.hint = create("p", { className: "hint" });
    const grouping = labelledSelect("Group by", () => { this.expanded.clear(); this.page = 0; this.refresh(); });
    this.groupSelect = grouping.select;
    this.toggles = new Map([["Curves", CurvesChart], ["Scatter plot", ScatterChart]].map(([title, kind]) => [
      title, button(title, () => this.toggleChart(title, kind), { "aria-expanded": "false" }),
    ]));
    this.controls = create(
      "div", { className: "controls" }, this.search, this.buildColumnMenu(), grouping.element,
      ...this.toggles.values(), button("CSV", () => this.downloadCsv(), { title: "Download the filtered rows and shown columns" }), this.output,
    );
    this.selection = create("div", { className: "controls selection", hidden: true });
    this.panels = create("div", { className: "panels" });
    this.tickAll = create("input", { type: "checkbox", "aria-label": "Tick all rows" });
    this.tickAll.addEventListener("change", () => this.setTicks(this.filteredRows, this.tickAll.checked));
    this.root.prepend(this.controls, create("div", { className: "bar" }, this.hint, this.selection), this.panels);
    document.addEventListener("brushed", ({ detail }) => {
      if (detail.chart !== this.head.brushedBy) return;
      this.brushed = detail.rows;
      if (this.columns) this.refresh();
    });
  }

  // --- Columns ---

  storageKey() {
    return `columns ${document.getElementById(`table-${this.name}`)?.dataset.page ?? ""} ${this.name}`;
  }

  loadChoice() {
    try {
      const stored = JSON.parse(localStorage.getItem(this.storageKey()));
      return new Map(Object.entries(stored ?? {}).filter(([, isShown]) => typeof isShown === "boolean"));
    } catch {
      return new Map();  // no storage, or something else in it
    }
  }

  saveChoice() {
    try {
      localStorage.setItem(this.storageKey(), JSON.stringify(Object.fromEntries(this.choice)));
    } catch { /* no storage: the choice lasts as long as the page */ }
  }

  shownColumns() {
    return this.columns.filter(({ key, is_shown }, index) => index === 0 || (this.choice.get(key) ?? is_shown));
  }

  buildColumnMenu() {
    const search = create("input", { type: "search", placeholder: "Find a column", "aria-label": "Find a column" });
    search.addEventListener("input", () => this.filterColumnMenu());
    this.columnSearch = search;
    this.columnList = create("ul");
    const reset = button("Reset", () => { this.choice.clear(); this.saveChoice(); this.fillColumnMenu(); this.refresh(); });
    this.columnMenu = create("details", { className: "menu" }, create("summary", { textContent: "Columns" }), create("div", {}, search, this.columnList, reset));
    this.columnMenu.addEventListener("toggle", () => this.columnMenu.open && this.fillColumnMenu());
    this.columnMenu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.columnMenu.open = false;
      this.columnMenu.firstChild.focus();
    });
    document.addEventListener("click", ({ target }) => {
      if (this.columnMenu.open && !this.columnMenu.contains(target)) this.columnMenu.open = false;
    });
    return this.columnMenu;
  }

  fillColumnMenu() {
    const shown = new Set(this.shownColumns().map(({ key }) => key));
    this.columnList.replaceChildren(...this.columns.slice(1).map(({ key, title }) => {
      const box = create("input", { type: "checkbox", checked: shown.has(key) });
      box.addEventListener("change", () => { this.choice.set(key, box.checked); this.saveChoice(); this.refresh(); });
      const item = create("li", {}, create("label", {}, box, ` ${title}`));
      item.dataset.text = `${key} ${title}`.toLowerCase();
      return item;
    }));
    this.filterColumnMenu();
  }

  filterColumnMenu() {
    const text = this.columnSearch.value.toLowerCase();
    for (const item of this.columnList.children) item.hidden = !item.dataset.text.includes(text);
  }

  layoutKey() {
    const baseline = this.rows.get(this.baseline);
    return JSON.stringify([super.layoutKey(), this.baseline, baseline?.values, this.groupSelect.value]);
  }

  // --- Rows and groups ---

  update(head, changedRows, removedIds) {
    for (const id of removedIds) this.ticked.delete(id);
    if (removedIds.includes(this.baseline)) this.baseline = null;
    super.update(head, changedRows, removedIds);
  }

  refresh() {
    const options = this.columns.filter(({ kind }) => kind !== "sparkline").map(({ key, title }) => [key, title]);
    fillSelect(this.groupSelect, [["", "nothing"], ...options]);
    const { groupBy } = this.head;
    if (this.groupBy !== groupBy) this.groupSelect.value = groupBy ?? "";
    this.groupBy = groupBy;
    super.refresh();
    this.hint.classList.toggle("error", this.filterError !== "");
    this.hint.textContent = this.filterError || (this.ticked.size || this.baseline !== null ? "" : this.filterExample());
    this.output.textContent = `${withCommas(this.filteredRows.length)} of ${withCommas(this.rows.size)}`;
    this.toggles.get("Curves").hidden = ![...this.rows.values()].some(({ curves }) => curves);
    this.toggles.get("Scatter plot").hidden = this.numericChoices().length < 2;
    this.showSelection();
    this.scheduleDraw();
  }

  filterExample() {
    const status = this.columns.find(({ kind }) => kind === "status");
    const score = this.columns.find(({ kind }) => kind === "percent") ?? this.columns.find((column) => this.isNumeric(column));
    const quote = (key) => (/[\s:<>=!]/.test(key) ? `"${key}"` : key);
    const examples = [
      ...(status ? [`${quote(status.key)}:finished`] : []),
      ...(score ? [`${quote(score.key)}>${score.kind === "percent" ? "90%" : "0.5"}`] : []),
    ];
    return examples.length ? `Filter by words and conditions, such as ${examples.join(" ")}` : "";
  }

  arrange(rows) {
    const { tests, error } = parseFilter(this.search.value, this.columns);
    this.filterError = error;
    this.filteredRows = rows.filter((row) => (!this.brushed || this.brushed.has(row.id)) && tests.every((test) => test(row)));
    const column = this.columns.find(({ key }) => key === this.groupSelect.value);
    this.groups = column ? this.groupRows(column) : null;
    if (!this.groups) return this.filteredRows;
    return this.groups.flatMap((group) => [group, ...(this.expanded.has(group.key) ? group.rows : [])]);
  }

  groupRows(column) {
    const groups = new Map();
    for (const row of this.filteredRows) {
      const text = formatValue(column, row.values[column.index]);
      const group = groups.get(text) ?? { isGroup: true, key: text, rows: [] };
      group.rows.push(row);
      groups.set(text, group);
    }
    const result = [...groups.values()];  // in the order of their first rows
    const sort = this.currentSort();
    if (!sort || !this.isNumeric(sort.column) || sort.column.key === column.key) return result;
    const means = new Map(result.map((group) => [group, this.groupSpread(group, sort.column)?.mean ?? null]));
    return result.sort((a, b) => compareKeys(means.get(a), means.get(b), sort.isDescending ? -1 : 1));
  }

  groupSpread(group, column) {
    return spread(group.rows.map(({ values }) => plainValue(column, values[column.index])));
  }

  headerCells() {
    return [create("th", { className: "tick", scope: "col" }, this.tickAll), ...super.headerCells()];
  }

  itemElement(item) {
    const element = item.isGroup ? this.groupElement(item) : super.itemElement(item);
    if (!item.isGroup) this.showTick(item);
    return element;
  }

  groupElement(group) {
    const isExpanded = this.expanded.has(group.key);
    const toggle = button(`${isExpanded ? "▾" : "▸"} ${group.key}`, () => {
      if (!this.expanded.delete(group.key)) this.expanded.add(group.key);
      this.refresh();
    }, { "aria-expanded": String(isExpanded) });
    const box = create("input", { type: "checkbox", "aria-label": `Tick ${group.key}` });
    const numTicked = group.rows.filter(({ id }) => this.ticked.has(id)).length;
    box.checked = numTicked === group.rows.length;
    box.indeterminate = numTicked > 0 && !box.checked;
    box.addEventListener("change", () => this.setTicks(group.rows, box.checked));
    const header = create("th", { scope: "rowgroup" }, toggle, create("small", { textContent: ` ${withCommas(group.rows.length)}` }));
    const cells = this.shown.slice(1).map((column) => this.groupCell(group, column));
    const element = create("tr", { className: "group" }, create("td", { className: "tick" }, box), header, ...cells);
    element.dataset.row = `group ${group.key}`;
    return element;
  }

  // Create the cell of a group: the value that all rows share, or the mean and the deviation.
  groupCell({ rows }, column) {
    const [first, ...others] = rows.map(({ values }) => plainValue(column, values[column.index]));
    if (others.every((value) => value === first)) return super.cell(column, rows[0], false);
    if (!this.isNumeric(column) || column.kind === "time") return create("td");
    const values = this.groupSpread({ rows }, column);
    return create("td", { className: "number", textContent: values ? formatSpread(column, values) : MISSING });
  }

  rowElement(row) {
    const element = super.rowElement(row);
    const box = create("input", { type: "checkbox", "aria-label": `Tick ${this.rowName(row)}` });
    box.addEventListener("change", () => this.setTicks([row], box.checked));
    element.prepend(create("td", { className: "tick" }, box));
    element.classList.toggle("baseline", row.id === this.baseline);
    return element;
  }

  rowName(row) {
    return formatValue(this.columns[0], row.values[0]);
  }

  // Add the difference to the baseline.
  cell(column, row, isHeader) {
    const cell = super.cell(column, row, isHeader);
    const baseline = this.rows.get(this.baseline);
    if (!baseline || baseline.id === row.id || isHeader || column.kind === "time" || !this.isNumeric(column)) return cell;
    const [value, reference] = [row, baseline].map(({ values }) => plainValue(column, values[column.index]));
    if (value === null || reference === null) return cell;
    cell.append(create("small", { className: "difference", textContent: formatDifference(column, value - reference) }));
    return cell;
  }

  renderItems(items) {
    const baseline = this.rows.get(this.baseline);
    super.renderItems(baseline ? [baseline, ...items.filter((item) => item !== baseline)] : items);
  }

  // --- Ticked rows ---

  setTicks(rows, isTicked) {
    for (const { id } of rows) {
      if (!isTicked) this.ticked.delete(id);
      else if (!this.ticked.has(id)) this.ticked.set(id, this.freeColor());
    }
    this.refresh();
  }

  // Return the color number that the fewest ticked rows have.
  freeColor() {
    const used = new Set(this.ticked.size < 200 ? this.ticked.values() : []);
    for (let number = 0; number <= used.size; number++) if (!used.has(number)) return number;
    return 0;
  }

  showTick(row) {
    const [cell] = row.element.children;
    const number = this.ticked.get(row.id);
    cell.firstChild.checked = number !== undefined;
    cell.classList.toggle("ticked", number !== undefined && !this.groups && this.charts.has("Curves"));
    if (number !== undefined) cell.style.setProperty("--swatch", `var(--class-${number % NUM_COLORS})`);
  }

  tickedRows() {
    return [...this.ticked.keys()].map((id) => this.rows.get(id)).filter(Boolean);
  }

  showSelection() {
    const rows = this.tickedRows();
    const numTicked = this.filteredRows.filter(({ id }) => this.ticked.has(id)).length;
    this.tickAll.checked = numTicked > 0 && numTicked === this.filteredRows.length;
    this.tickAll.indeterminate = numTicked > 0 && !this.tickAll.checked;
    const compareUrl = document.querySelector("[data-compare-url]")?.dataset.compareUrl;
    const baseline = this.rows.get(this.baseline);
    const key = JSON.stringify([[...this.ticked.keys()], this.baseline, compareUrl]);
    if (key === this.selectionKey) return;  // keep the focus
    const focusedText = this.selection.contains(document.activeElement) ? document.activeElement.textContent : null;
    this.selectionKey = key;
    this.selection.hidden = !rows.length && !baseline;
    this.selection.replaceChildren();
    if (rows.length) this.selection.append(create("span", { textContent: `${withCommas(rows.length)} ticked` }));
    if (rows.length > 1 && compareUrl && isSafeUrl(compareUrl)) {
      const query = new URLSearchParams(rows.map(({ id }) => ["run", id]));
      this.selection.append(create("a", { className: "button", href: `${compareUrl}?${query}`, textContent: "Compare" }));
    }
    if (rows.length === 1 && rows[0] !== baseline) {
      this.selection.append(button("Use as baseline", () => this.setBaseline(rows[0].id)));
    }
    const command = this.columns.find((column) => column.key === "command");
    const commands = command ? rows.map(({ values }) => values[command.index]).filter((each) => typeof each === "string" && each) : [];
    if (commands.length) {
      const label = commands.length === 1 ? "Copy command" : `Copy ${withCommas(commands.length)} commands`;
      const copy = button(label, async () => { copy.textContent = await copyText(commands.join("\n")); });
      this.selection.append(copy);
    }
    if (rows.length) this.selection.append(button("Clear", () => { this.ticked.clear(); this.refresh(); }));
    if (baseline) {
      this.selection.append(create("span", { className: "pinned", textContent: `Baseline: ${shorten(this.rowName(baseline))}` }));
      this.selection.append(button("Remove baseline", () => this.setBaseline(null)));
    }
    if (focusedText !== null) {
      const same = [...this.selection.children].find(({ textContent }) => textContent === focusedText);
      (same ?? this.selection.querySelector("button") ?? this.search).focus({ preventScroll: true });
    }
  }

  setBaseline(id) {
    this.baseline = id;
    this.refresh();
  }

  downloadCsv() {
    const columns = this.shown.filter(({ kind }) => kind !== "sparkline");
    const cell = (column, value) => {
      if (value === null || value === undefined) return "";
      if (column.kind === "time") return new Date(value * 1000).toISOString();
      return typeof value === "string" ? value : JSON.stringify(value);
    };
    const lines = this.groups ? this.groupLines(columns, cell) : [
      columns.map(({ key }) => key),
      ...this.filteredRows.map(({ values }) => columns.map((column) => cell(column, plainValue(column, values[column.index])))),
    ];
    const quote = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const csv = lines.map((line) => `${line.map(quote).join(",")}\r\n`).join("");
    const url = URL.createObjectURL(new Blob([csv], { type: "text/csv;charset=utf-8" }));
    create("a", { href: url, download: `${this.name}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  // Return the lines of the groups: numbers with mean and deviation, and what all rows share.
  groupLines(columns, cell) {
    const isSpread = (column) => this.isNumeric(column) && column.kind !== "time";
    const header = columns.slice(1).flatMap((column) => (isSpread(column) ? [column.key, `${column.key} std`] : [column.key]));
    return [[this.groupSelect.value, "rows", ...header], ...this.groups.map((group) => [group.key, String(group.rows.length), ...columns.slice(1).flatMap((column) => {
      const values = group.rows.map((row) => plainValue(column, row.values[column.index]));
      if (!isSpread(column)) return [values.every((value) => value === values[0]) ? cell(column, values[0]) : ""];
      const { mean, deviation } = this.groupSpread(group, column) ?? {};
      return [cell(column, mean), cell(column, deviation)];
    })])];
  }

  // --- Charts ---

  numericChoices() {
    return this.columns.filter((column) => this.isNumeric(column));
  }

  // Return the names of the x and y axes of all curves.
  curveNames() {
    return [...new Set([...this.rows.values()].flatMap(({ curves }) => Object.keys(curves ?? {})))];
  }

  toggleChart(title, kind) {
    const chart = this.charts.get(title);
    if (chart) chart.close();
    else new kind(this, title);
    this.toggles.get(title).setAttribute("aria-expanded", String(!chart));
    this.refresh();
  }

  scheduleDraw() {
    clearTimeout(this.drawTimer);
    if (this.charts.size) this.drawTimer = setTimeout(() => this.charts.forEach((chart) => chart.draw()), DRAW_DELAY);
  }
}

// Copy a text and return what the button says then.
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return "Copied";
  } catch {
    const area = create("textarea", { value: text });  // a page opened from disk may lack the clipboard
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    return isCopied ? "Copied" : "Not copied";
  }
}

// A chart of the rows of a table, redrawn when the table changes.
class TableChart extends Chart {
  constructor(table, title, height, content) {
    const plot = create("div", { className: "plot", role: "img", "aria-label": `${title}: ${table.caption}` });
    plot.style.height = `${height}px`;
    const keys = create("span", { className: "keys" });
    const note = create("p", { className: "note" });
    const caption = create("figcaption", {}, create("span", { className: "title", textContent: title }), keys);
    const figure = create("figure", { className: "chart", id: `chart-${table.name}-${title.split(" ")[0].toLowerCase()}` }, caption, plot, note);
    super(figure, { data: [], layout: {}, views: {}, xAxes: {}, ...content });
    Object.assign(this, { table, title, keys, note, choices: create("span", { className: "chart-controls" }) });
    caption.append(this.choices);
    table.charts.set(title, this);
    table.panels.append(figure);
    charts.set(figure.id.slice("chart-".length), this);
  }

  addSelect(label) {
    const { select, element } = labelledSelect(label, () => this.draw());
    this.choices.append(element);
    return select;
  }

  addToggle(label) {
    const box = create("input", { type: "checkbox", onchange: () => this.draw() });
    this.choices.append(create("label", { className: "choice" }, box, ` ${label}`));
    return box;
  }

  showKeys(keys) {
    const named = keys.length > MAX_KEYS ? [] : keys;
    this.keys.replaceChildren(...named.map(([text, number]) => colorKey(text, number)));
  }

  close() {
    this.table.charts.delete(this.title);
    charts.delete(this.figure.id.slice("chart-".length));
    Plotly.purge(this.plot);
    this.figure.remove();
  }
}

// The curves of the ticked rows, or the mean curve of each group with a band of one standard deviation.
class CurvesChart extends TableChart {
  constructor(table, title) {
    const names = table.curveNames();
    const xAxes = Object.fromEntries(X_NAMES.filter((name) => names.includes(name)).map((name) => [name, []]));
    super(table, title, 320, { xAxes, hasLogScale: true, hasSmoothing: true });
    this.metricSelect = this.addSelect("Metric");
  }

  traces() {
    const { table, content, settings } = this;
    fillSelect(this.metricSelect, table.curveNames().filter((name) => !X_NAMES.includes(name)).map((name) => [name, name]));
    content.data = table.groups ? this.groupTraces() : this.rowTraces();
    content.xAxes[settings.x] = content.data.map(({ x }) => x);
    return super.traces();
  }

  rowTraces() {
    const { table } = this;
    const ticked = table.tickedRows();
    const rows = ticked.length ? ticked.slice(0, MAX_CURVES) : table.filteredRows.filter(({ curves }) => curves).slice(0, NUM_COLORS);
    this.note.textContent = ticked.length > MAX_CURVES ? `The first ${MAX_CURVES} of ${withCommas(ticked.length)} ticked rows.`
      : ticked.length ? "" : `The first ${rows.length} rows of the table; tick rows to choose others.`;
    const numbers = rows.map((row, index) => table.ticked.get(row.id) ?? index);
    this.showKeys(rows.map((row, index) => [table.rowName(row), numbers[index]]));
    return rows.map((row, index) => {
      const points = curvePoints(row, this.settings.x, this.metricSelect.value);
      const line = { color: classColor(numbers[index]), dash: dashOf(numbers[index]) };
      return this.line(table.rowName(row), points.map(([x]) => x), points.map(([, y]) => y), line);
    });
  }

  groupTraces() {
    const { table } = this;
    const isChosen = ({ id }) => !table.ticked.size || table.ticked.has(id);
    const groups = table.groups.map(({ key, rows }) => ({ key, rows: rows.filter(isChosen) })).filter(({ rows }) => rows.length);
    const shown = groups.slice(0, NUM_COLORS);
    const omitted = groups.length > shown.length ? ` The first ${shown.length} of ${withCommas(groups.length)} groups.` : "";
    this.note.textContent = `Mean of each group; the band is ± one standard deviation.${omitted}`;
    this.showKeys(shown.map(({ key, rows }, index) => [`${key} (${rows.length})`, index]));
    return shown.flatMap(({ key, rows }, index) => {
      const color = classColor(index);
      const curve = meanCurve(rows, this.settings.x, this.metricSelect.value);
      const band = curve.filter(({ deviation }) => deviation !== null);
      const edge = (sign) => band.map(({ mean, deviation }) => mean + sign * deviation);
      const area = {
        x: [...band.map(({ x }) => x), ...band.map(({ x }) => x).reverse()], y: [...edge(1), ...edge(-1).reverse()],
        type: "scatter", mode: "none", fill: "toself", fillcolor: color, opacity: 0.13, hoverinfo: "skip",
      };
      return [...(band.length ? [area] : []), this.line(key, curve.map(({ x }) => x), curve.map(({ mean }) => mean), { color })];
    });
  }

  line(name, x, y, line) {
    return {
      type: "scatter", mode: x.length > 1 ? "lines" : "markers", x, y, line, marker: { color: line.color },
      name: escapeLabel(name), hovertemplate: "%{y:.4~g}<extra>%{fullData.name}</extra>",
    };
  }

  layout(size) {
    this.content.layout = {
      xaxis: { title: { text: X_TITLES[this.settings.x] } }, hoverlabel: { namelength: 40 },
      yaxis: { title: { text: escapeLabel(this.metricSelect.value) } },
    };
    const layout = super.layout(size);
    return { ...layout, uirevision: `${layout.uirevision} ${this.metricSelect.value}` };
  }
}

// Any two numeric columns against each other, colored by a third.
class ScatterChart extends TableChart {
  constructor(table, title) {
    super(table, title, 380);
    this.selects = Object.fromEntries(["X", "Y", "Color"].map((axis) => [axis, this.addSelect(axis)]));
    this.logs = Object.fromEntries(["X", "Y"].map((axis) => [axis, this.addToggle(`log ${axis.toLowerCase()}`)]));
  }

  column(axis) {
    return this.table.columns.find(({ key }) => key === this.selects[axis].value);
  }

  fillSelects() {
    const { table } = this;
    const numeric = table.numericChoices();
    const options = numeric.map(({ key, title }) => [key, title]);
    const sorted = table.currentSort()?.column;
    const y = numeric.includes(sorted) ? sorted : numeric.find(({ kind }) => kind === "percent") ?? numeric.at(-1);
    const x = numeric.find((column) => column !== y && column.kind === "text") ?? numeric.find((column) => column !== y);
    fillSelect(this.selects.X, options, x?.key);
    fillSelect(this.selects.Y, options, y?.key);
    const colors = table.columns.filter(({ kind }) => kind !== "sparkline" && kind !== "link");
    fillSelect(this.selects.Color, [["", "nothing"], ...colors.map(({ key, title }) => [key, title])]);
  }

  traces() {
    this.fillSelects();
    const { table } = this;
    const [x, y, color] = ["X", "Y", "Color"].map((axis) => this.column(axis));
    if (!x || !y) return [];
    const value = (row, column) => plainValue(column, row.values[column.index]);
    let rows = table.filteredRows.filter((row) => value(row, x) !== null && value(row, y) !== null);
    const total = rows.length;
    if (total > MAX_POINTS) rows = Array.from({ length: MAX_POINTS }, (_, index) => rows[Math.floor((index * total) / MAX_POINTS)]);
    this.note.textContent = `Click a point to tick its row.${total > rows.length ? ` ${withCommas(rows.length)} of ${withCommas(total)} rows are shown.` : ""}`;
    const shown = [x, y, ...(color ? [color] : [])];
    const position = (column) => rows.map((row) => (column.kind === "time" ? value(row, column) * 1000 : value(row, column)));
    return [{
      type: "scatter", mode: "markers", x: position(x), y: position(y), customdata: rows.map(({ id }) => id), hoverinfo: "text",
      hovertext: rows.map((row) => [table.rowName(row), ...shown.map((column) => `${column.title}: ${formatValue(column, row.values[column.index])}`)]
        .map((line) => escapeLabel(shorten(line, 60))).join("<br>")),
      marker: {
        ...this.colors(rows, color), opacity: 0.85, size: rows.map(({ id }) => (table.ticked.has(id) ? 11 : 7)),
        line: { color: roleColor("ink"), width: rows.map(({ id }) => (table.ticked.has(id) ? 1.5 : 0)) },
      },
    }];
  }

  colors(rows, column) {
    this.showKeys([]);
    if (!column) return { color: roleColor("accent") };
    const values = rows.map((row) => plainValue(column, row.values[column.index]));
    if (this.table.isNumeric(column)) {
      const scale = ["low", "middle", "high"].map((role, index) => [index / 2, roleColor(role)]);
      const title = { text: escapeLabel(column.title), side: "right" };
      return { color: values.map((value) => value ?? Number.NaN), colorscale: scale, showscale: true, colorbar: { title, thickness: 10, outlinewidth: 0 } };
    }
    const texts = values.map((value) => (value === null ? MISSING : formatSetting(value)));
    const names = [...new Set(texts)].sort(collator.compare);
    const numbers = new Map(names.map((name, index) => [name, index]));
    this.showKeys(names.map((name, index) => [name, index % NUM_COLORS]));
    return { color: texts.map((text) => classColor(numbers.get(text))) };
  }

  axis(name) {
    const column = this.column(name);
    const type = this.logs[name].checked ? "log" : column?.kind === "time" ? "date" : "linear";
    return { type, exponentformat: "power", title: { text: escapeLabel(column?.title ?? "") }, ...(column?.kind === "percent" ? { tickformat: ".4~p" } : {}) };
  }

  layout(size) {
    this.content.layout = { xaxis: this.axis("X"), yaxis: this.axis("Y") };
    const axes = this.content.layout;
    return { ...super.layout(size), ...axes, uirevision: JSON.stringify(axes) };
  }

  async draw(size) {
    const isFirst = !this.figure.classList.contains("drawn");
    await super.draw(size);
    if (!isFirst) return;
    this.plot.on("plotly_click", ({ points: [{ customdata }] }) => {
      const row = this.table.rows.get(customdata);
      if (row) this.table.setTicks([row], !this.table.ticked.has(row.id));
    });
  }
}

// --- All tables of the page ---

const tables = new Map();

// Create a table or update it with what has changed: the head (null if nothing), rows by id, ids of removed rows.
function updateTable(name, head, changedRows = {}, removedIds = []) {
  if (!tables.has(name)) {
    if (!head) return;
    tables.set(name, head.isExplorable ? new ExplorableTable(name, head) : new DataTable(name, head));
  }
  const table = tables.get(name);
  table.mount();
  table.update(head, changedRows, removedIds);
}

for (const [name, [head, rows]] of Object.entries(payload.tables)) updateTable(name, head, rows);
