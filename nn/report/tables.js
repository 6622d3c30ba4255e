"use strict";

// Tables that are sorted by their heads, filtered by a field, and turned page by page.
for (const place of document.querySelectorAll(".table")) {
  const body = place.querySelector("tbody");
  const rows = [...body.rows];
  const heads = [...place.querySelectorAll("thead th")];
  const field = place.querySelector("input[type=search]");
  const chooser = place.querySelector("select");
  const output = place.querySelector("output");
  const pager = place.querySelector(".pager");
  const size = Number(place.dataset.paged) || Infinity;
  const text = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  let brushed = null;
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
    if (chooser?.value && ![...row.cells].some((cell) => cell.textContent === chooser.value)) {
      return false;
    }
    const sought = (field?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    return sought.every((word) => text.get(row).includes(word));
  };

  const show = () => {
    const found = order.filter(matches);
    const pages = Math.max(1, Math.ceil(found.length / size));
    page = Math.min(page, pages - 1);
    const first = size === Infinity ? 0 : page * size;
    body.replaceChildren(...found.slice(first, first + size));
    if (output) output.textContent = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
    pager.hidden = pages === 1;
    pager.replaceChildren(
      turn("Previous", -1, page === 0),
      Object.assign(document.createElement("span"), { textContent: `Page ${page + 1} of ${pages}` }),
      turn("Next", 1, page === pages - 1),
    );
  };

  const turn = (name, by, disabled) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: name, disabled });
    button.addEventListener("click", () => { page += by; show(); pager.querySelectorAll("button")[by > 0 ? 1 : 0].focus(); });
    return button;
  };

  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const sign = down ? -1 : 1;
      const values = new Map(rows.map((row) => [row, valueOf(row, column)]));
      order = [...rows].sort((a, b) => {
        const [x, y] = [values.get(a), values.get(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * compare(x, y);
      });
      page = 0;
      show();
    });
  });
  field?.addEventListener("input", () => { page = 0; show(); });
  chooser?.addEventListener("change", () => { page = 0; show(); });
  document.addEventListener("brushed", (event) => {
    if (place.id !== event.detail.table) return;
    brushed = event.detail.rows;
    page = 0;
    show();
  });
  show();
}
