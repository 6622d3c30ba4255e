"use strict";

// Tables: sorting by column, search, filter by state, and pagination.
for (const container of document.querySelectorAll(".table")) {
  const body = container.querySelector("tbody");
  const rows = [...body.rows];
  const headers = [...container.querySelectorAll("thead th")];
  const searchField = container.querySelector("input[type=search]");
  const filter = container.querySelector("select");
  const output = container.querySelector("output");
  const pager = container.querySelector(".pager");
  const pageSize = Number(container.dataset.paged) || Infinity;
  const text = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  let brushed = null;  // ids of the rows selected in a chart; null for all
  let page = 0;
  let order = rows;

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const value = cell.dataset.value ?? cell.textContent.trim();
    if (value === "" || value === "—") return null;
    const number = Number(value);
    return Number.isNaN(number) ? value.toLowerCase() : number;
  };

  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  };

  const matches = (row) => {
    if (brushed && !brushed.has(row.dataset.row)) return false;
    if (filter?.value && ![...row.cells].some((cell) => cell.textContent === filter.value)) {
      return false;
    }
    const words = (searchField?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    return words.every((word) => text.get(row).includes(word));
  };

  const show = () => {
    const matching = order.filter(matches);
    const pages = Math.max(1, Math.ceil(matching.length / pageSize));
    page = Math.min(page, pages - 1);
    const first = pageSize === Infinity ? 0 : page * pageSize;
    body.replaceChildren(...matching.slice(first, first + pageSize));
    if (output) output.textContent = `${matching.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
    pager.hidden = pages === 1;
    pager.replaceChildren(
      pageButton("Previous", -1, page === 0),
      Object.assign(document.createElement("span"), { textContent: `Page ${page + 1} of ${pages}` }),
      pageButton("Next", 1, page === pages - 1),
    );
  };

  const pageButton = (name, step, disabled) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: name, disabled });
    button.addEventListener("click", () => { page += step; show(); pager.querySelectorAll("button")[step > 0 ? 1 : 0].focus(); });
    return button;
  };

  headers.forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const descending = header.getAttribute("aria-sort") === "ascending";
      for (const other of headers) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const sign = descending ? -1 : 1;
      const values = new Map(rows.map((row) => [row, valueOf(row, column)]));
      order = [...rows].sort((a, b) => {
        const [x, y] = [values.get(a), values.get(b)];
        if (x === null || y === null) return (x === null) - (y === null);  // unknown values last
        return sign * compare(x, y);
      });
      page = 0;
      show();
    });
  });
  searchField?.addEventListener("input", () => { page = 0; show(); });
  filter?.addEventListener("change", () => { page = 0; show(); });
  document.addEventListener("brushed", (event) => {
    if (container.id !== event.detail.table) return;
    brushed = event.detail.rows;
    page = 0;
    show();
  });
  show();
}
