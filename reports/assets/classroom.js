"use strict";
(() => {
  const table = document.getElementById("students");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const [find, verdict, mistake, shown] = ["find", "verdict", "mistake", "shown"].map(id => document.getElementById(id));
  const texts = new Map(rows.map(row => [row, row.textContent.toLowerCase()]));

  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const fits = words.every(word => texts.get(row).includes(word))
        && (!verdict.value || row.dataset.verdict === verdict.value)
        && (!mistake.value || row.dataset.mistakes.split(" ").includes(mistake.value));
      row.hidden = !fits;
      count += fits;
    }
    shown.textContent = count === rows.length ? "" : `${count} of ${rows.length} students`;
  };

  const value = (row, column, numbers) => {
    const cell = row.cells[column];
    return numbers ? (cell.dataset.value === "" ? -Infinity : Number(cell.dataset.value)) : cell.textContent.trim();
  };

  const sort = (head, column) => {
    const numbers = "numbers" in head.dataset;
    const before = head.getAttribute("aria-sort");
    const down = before ? before === "ascending" : numbers;
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const order = (a, b) => numbers ? a - b : a.localeCompare(b, undefined, { numeric: true });
    const sorted = rows.map(row => [value(row, column, numbers), row]);
    sorted.sort(([a], [b]) => down ? order(b, a) || 0 : order(a, b) || 0);
    body.append(...sorted.map(([, row]) => row));
  };

  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head, column));
    head.append(button);
  });

  const controls = document.getElementById("controls");
  controls.hidden = false;
  controls.addEventListener("input", filter);
  controls.addEventListener("submit", event => event.preventDefault());
})();
