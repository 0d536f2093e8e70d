"use strict";
// Tables whose rows can be sorted by a column, and filtered where they are many. Without this
// script the page says the same.
const MANY = 8;
const figure = (cell) => {
  const text = cell.textContent.trim().replace("−", "-").replace(/,(?=\d{3})/g, "").replace(/^[<≥]\s*/, "");
  return /^-?[\d.]/.test(text) ? parseFloat(text) : NaN;
};
const value = (row, at) => (row.cells[at].querySelector("s") ? row.cells[at].querySelector("s") : row.cells[at]);
const compare = (at, sign) => (a, b) => {
  const [x, y] = [value(a, at), value(b, at)];
  const [p, q] = [figure(x), figure(y)];
  if (isNaN(p) && isNaN(q)) return sign * x.textContent.localeCompare(y.textContent, "en", { numeric: true });
  if (isNaN(p) || isNaN(q)) return isNaN(p) ? 1 : -1; // what has no figure stays last
  return sign * (p - q);
};
for (const table of document.querySelectorAll("table.rows")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  if (rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      body.append(...[...body.rows].sort(compare(at, descending ? -1 : 1)));
    });
  });
  if (rows.length < MANY) continue;
  const label = document.createElement("label");
  const input = document.createElement("input");
  const shown = document.createElement("output");
  input.type = "search";
  input.placeholder = "words";
  label.className = "filter";
  label.append("Filter ", input, " ", shown);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const left = rows.filter((row) => !row.hidden).length;
    shown.textContent = words.length ? `${left} of ${rows.length}` : "";
  });
  table.parentElement.before(label);
}
