"use strict";

// Tables: formats, sorts and pages the rows of the payload. explore.js adds filters, groups and charts.
const MISSING = "—";
const NBSP = "\u00a0";
const MAX_PRINTED_ROWS = 300;
const collator = new Intl.Collator("en", { numeric: true });

// Create an element; properties that it does not have become attributes.
function create(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Formats, as in formatting.py.
const withCommas = (value) => value.toLocaleString("en", { maximumFractionDigits: 0 });
const exponential = (value, digits) => value.toExponential(digits).replace(/e([+-])(\d)$/, "e$10$2");

function formatNumber(value) {
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return withCommas(value);
  if (size >= 1e-4 && size < 9999.5) return value.toPrecision(4);
  return size >= 1e4 && size < 1e9 ? withCommas(value) : exponential(value, 3);
}

function formatDuration(seconds) {
  if (seconds < 1) return `${(1000 * seconds).toFixed(0)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(Math.round(seconds) / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(seconds) % 60} s` : `${withCommas(Math.floor(minutes / 60))} h ${minutes % 60} min`;
}

function formatTime(timestamp) {
  const date = new Date(timestamp * 1000);
  if (Number.isNaN(date.valueOf())) return MISSING;
  const [year, ...parts] = [date.getFullYear(), date.getMonth() + 1, date.getDate(), date.getHours(), date.getMinutes()];
  const [month, day, hours, minutes] = parts.map((part) => String(part).padStart(2, "0"));
  return `${year}-${month}-${day} ${hours}:${minutes}`;
}

// Format a setting: numbers with four significant digits, but no more digits than they need.
function formatSetting(value) {
  if (typeof value === "string") return value;
  if (typeof value !== "number") return JSON.stringify(value).replaceAll(",", ", ");
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value);
  const short = Number(value.toPrecision(4));
  return Math.abs(short) < 1e-4 || Math.abs(short) >= 1e6 ? short.toExponential() : String(short);
}

const FORMATS = {
  integer: formatNumber, number: formatNumber, duration: formatDuration, time: formatTime,
  percent: (value) => `${(100 * value).toFixed(2)}${NBSP}%`,
};
const isKnownNumber = (value) => typeof value === "number";

// Return the value of a cell without its URL, and null for a number that is none.
function plainValue(column, value) {
  if (value === null || value === undefined) return null;
  if (column.kind === "link") return Array.isArray(value) ? value[0] ?? null : value;
  if (column.kind === "sparkline") return Array.isArray(value) ? value : null;
  if (column.kind in FORMATS && !isKnownNumber(value)) return null;
  return value;
}

function formatValue(column, value) {
  const plain = plainValue(column, value);
  if (plain === null) return MISSING;
  return (FORMATS[column.kind] ?? formatSetting)(plain);
}

// Format a difference; that of percentages is in percentage points.
function formatDifference(column, difference) {
  const sign = difference > 0 ? "+" : "−";
  if (difference === 0) return "±0";
  if (column.kind === "percent") return `${sign}${Math.abs(100 * difference).toFixed(2)}${NBSP}pp`;
  return sign + (FORMATS[column.kind] ?? formatSetting)(Math.abs(difference));
}

function formatSpread(column, { mean, deviation }) {
  if (deviation === null) return formatValue(column, mean);
  if (column.kind === "percent") return `${(100 * mean).toFixed(2)} ± ${(100 * deviation).toFixed(2)}${NBSP}%`;
  if (column.kind === "duration") return `${formatDuration(mean)} ± ${formatDuration(deviation)}`;
  return `${formatSetting(mean)} ± ${formatSetting(Number(deviation.toPrecision(2)))}`;
}

function isSafeUrl(url) {
  try {
    return ["http:", "https:", "file:"].includes(new URL(url, location.href).protocol);
  } catch {
    return false;
  }
}

const svgElement = (tag, attributes) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

// Draw a line of the known values, with gaps elsewhere.
function sparkline(values) {
  const known = values.filter(isKnownNumber);
  if (!known.length) return document.createTextNode(MISSING);
  const low = Math.min(...known);
  const range = Math.max(...known) - low || 1;
  let path = "";
  values.forEach((value, index) => {
    if (!isKnownNumber(value)) return;
    const x = (100 * index) / Math.max(1, values.length - 1);
    const y = 22 - (20 * (value - low)) / range;
    path += `${isKnownNumber(values[index - 1]) ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  const svg = svgElement("svg", { class: "spark", viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(svgElement("path", { d: path, "vector-effect": "non-scaling-stroke" }));
  return svg;
}

// Compare sort keys; unknown ones are last in both directions.
function compareKeys(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number") return typeof b === "number" ? sign * (a - b) : -sign;
  return typeof b === "number" ? sign : sign * collator.compare(a, b);
}

class DataTable {
  constructor(name, head) {
    this.name = name;
    this.rows = new Map();
    this.numRowsSeen = 0;
    this.page = 0;
    this.sort = null;  // chosen by the reader: { key, isDescending }
    this.layoutVersion = 0;
    this.head = head;
    this.caption = document.getElementById(`table-${name}`)?.dataset.caption ?? name;
    this.build();
    printMedia.addEventListener("change", () => this.renderPage());
  }

  // Build the elements that stay the same.
  build() {
    this.headRow = create("tr");
    this.body = create("tbody");
    this.scroll = create(
      "div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": this.caption },
      create("table", {}, create("caption", { textContent: this.caption }), create("thead", {}, this.headRow), this.body),
    );
    this.pageText = create("span", { "aria-live": "polite" });
    const turn = (step) => () => { this.page += step; this.renderPage(); };
    this.previous = create("button", { type: "button", textContent: "Previous", onclick: turn(-1) });
    this.next = create("button", { type: "button", textContent: "Next", onclick: turn(1) });
    this.pager = create("div", { className: "pager" }, this.previous, this.pageText, this.next);
    this.root = create("div", { className: "table-root" }, this.scroll, this.pager);
  }

  // Show the table in its place on the page, which a live page may have replaced.
  mount() {
    const container = document.getElementById(`table-${this.name}`);
    if (container && this.root.parentElement !== container) container.replaceChildren(this.root);
  }

  // Take in what has changed: the head (null if nothing), rows by id, and ids of removed rows.
  update(head, changedRows, removedIds) {
    this.head = head ?? this.head;
    this.columns = this.head.columns.map((column, index) => ({ ...column, index }));
    for (const id of removedIds) this.rows.delete(id);
    for (const [id, [values, curves]] of Object.entries(changedRows)) {
      const order = this.rows.get(id)?.order ?? this.numRowsSeen++;
      this.rows.set(id, { id, values, curves: curves ?? null, order });
    }
    this.numericColumns = new Map();
    this.sortedRows = null;
    this.refresh();
  }

  // Whether the known values of a column are numbers.
  isNumeric(column) {
    if (column.kind in FORMATS) return true;
    if (column.kind !== "text") return false;
    let result = this.numericColumns.get(column.key);
    if (result === undefined) {
      let hasNumbers = false;
      result = true;
      for (const { values } of this.rows.values()) {
        const value = values[column.index];
        if (isKnownNumber(value)) hasNumbers = true;
        else if (value !== null && value !== undefined) { result = false; break; }
      }
      result &&= hasNumbers;
      this.numericColumns.set(column.key, result);
    }
    return result;
  }

  shownColumns() {
    return this.columns.filter((column) => column.is_shown);
  }

  // What, when it changes, makes all cells outdated.
  layoutKey() {
    return JSON.stringify(this.shown.map((column) => [column, this.isNumeric(column)]));
  }

  currentSort() {
    const { sort } = this.head;
    const { key, isDescending } = this.sort ?? { key: sort?.replace(/^-/, ""), isDescending: sort?.startsWith("-") };
    const column = this.columns.find((each) => each.key === key);
    return column ? { column, isDescending } : null;
  }

  sortKey(row, column) {
    if (row.sortColumn !== column.key) {
      const plain = plainValue(column, row.values[column.index]);
      row.sortColumn = column.key;
      if (plain === null || isKnownNumber(plain)) row.sortKey = plain;
      else if (column.kind === "sparkline") row.sortKey = plain.filter(isKnownNumber).at(-1) ?? null;
      else row.sortKey = formatSetting(plain);
    }
    return row.sortKey;
  }

  sorted() {
    const sort = this.currentSort();
    const rows = [...this.rows.values()].sort((a, b) => a.order - b.order);
    if (!sort) return rows;
    const sign = sort.isDescending ? -1 : 1;
    return rows.sort((a, b) => compareKeys(this.sortKey(a, sort.column), this.sortKey(b, sort.column), sign));
  }

  // Filter and arrange the sorted rows into items, each a row or a group.
  arrange(rows) {
    return rows;
  }

  refresh() {
    this.shown = this.shownColumns();
    const key = this.layoutKey();
    if (key !== this.lastLayoutKey) {
      this.lastLayoutKey = key;
      this.layoutVersion += 1;
      this.headRow.replaceChildren(...this.headerCells());
    }
    this.sortedRows ??= this.sorted();
    this.items = this.arrange(this.sortedRows);
    const sort = this.currentSort();
    this.shown.forEach((column, index) => {
      const header = this.headRow.children[this.headRow.children.length - this.shown.length + index];
      if (column.key !== sort?.column.key) header.removeAttribute("aria-sort");
      else header.setAttribute("aria-sort", sort.isDescending ? "descending" : "ascending");
    });
    this.renderPage();
  }

  headerCells() {
    return this.shown.map((column) => {
      const button = create("button", { type: "button", textContent: column.title, onclick: () => this.sortBy(column.key) });
      return create("th", { scope: "col", className: this.isNumeric(column) ? "number" : "", title: column.key }, button);
    });
  }

  sortBy(key) {
    const current = this.currentSort();
    this.sort = { key, isDescending: current?.column.key === key && !current.isDescending };
    this.sortedRows = null;
    this.page = 0;
    this.refresh();
  }

  renderPage() {
    const pageSize = printMedia.matches ? MAX_PRINTED_ROWS : this.head.pageSize ?? Infinity;
    const numPages = Math.max(1, Math.ceil(this.items.length / pageSize));
    this.page = Math.max(0, Math.min(this.page, numPages - 1));
    const first = this.page && this.page * pageSize;
    this.renderItems(this.items.slice(first, first + pageSize));
    this.pager.hidden = numPages === 1;
    this.pageText.textContent = `Page ${withCommas(this.page + 1)} of ${withCommas(numPages)}`;
    this.previous.disabled = this.page === 0;
    this.next.disabled = this.page === numPages - 1;
  }

  // Show items, and leave alone the elements of those that have not changed, and the focus.
  renderItems(items) {
    const elements = items.map((item) => this.itemElement(item));
    if (!elements.length) {
      elements.push(create("tr", { className: "empty" }, create("td", { colSpan: this.headRow.children.length, textContent: "No rows." })));
    }
    const { activeElement } = document;
    const focusedRow = this.body.contains(activeElement) ? activeElement.closest("tr") : null;
    const position = focusedRow && [...focusedRow.querySelectorAll("a, button, input")].indexOf(activeElement);
    elements.forEach((element, index) => {
      const current = this.body.children[index];
      if (current !== element) this.body.insertBefore(element, current ?? null);
    });
    while (this.body.children.length > elements.length) this.body.lastChild.remove();
    if (!focusedRow || document.activeElement === activeElement) return;
    const row = elements.find((element) => element.dataset.row === focusedRow.dataset.row);
    row?.querySelectorAll("a, button, input")[position]?.focus({ preventScroll: true });
  }

  itemElement(row) {
    if (row.layoutVersion !== this.layoutVersion) {
      row.layoutVersion = this.layoutVersion;
      row.element = this.rowElement(row);
    }
    return row.element;
  }

  rowElement(row) {
    const element = create("tr", {}, ...this.shown.map((column, index) => this.cell(column, row, index === 0)));
    element.dataset.row = row.id;
    return element;
  }

  // Create a cell; the first of a row is its header.
  cell(column, row, isHeader) {
    const value = row.values[column.index];
    const plain = plainValue(column, value);
    const text = formatValue(column, value);
    const cell = isHeader ? create("th", { scope: "row" }) : create("td");
    if (this.isNumeric(column)) cell.className = "number";
    if (column.kind === "sparkline" && plain !== null) {
      cell.append(sparkline(plain));
    } else if (column.kind === "status" && plain !== null) {
      const pill = create("span", { className: "status", textContent: text });
      pill.dataset.status = text;
      cell.append(pill);
    } else if (column.kind === "link" && Array.isArray(value) && typeof value[1] === "string" && isSafeUrl(value[1])) {
      cell.append(create("a", { href: value[1], textContent: text }));
    } else {
      cell.textContent = text;
    }
    if (!(column.kind in FORMATS) && text.length > 24) cell.title = text;
    return cell;
  }
}
