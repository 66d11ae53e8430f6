/* Large tables: sort by a heading, filter rows, take the data as CSV. Works on every table of class
   ua-big; without this script it is a plain table. Loaded only by pages that hold one. */
"use strict";

(() => {
  const UNIT = { M: 1e6, MiB: 2 ** 20, GiB: 2 ** 30, "%": 1 };
  const words = new Intl.Collator("en", { numeric: true });

  /* A cell as a number; NaN for words. */
  function number(text) {
    const found = /^([+−-]?[\d,]+(?:\.\d+)?)\s*(M|MiB|GiB|%)?$/.exec(text);
    return found ? Number(found[1].replaceAll(",", "").replace("−", "-")) * (UNIT[found[2]] || 1) : NaN;
  }

  function textOf(row, column) {
    return row.cells[column].textContent.trim();
  }

  /* Rows in order of a column; what is missing comes last either way. */
  function inOrder(rows, column, sign) {
    const empty = (text) => text === "" || text === "–";
    const keyed = rows.map((row) => [textOf(row, column), row]);
    const plain = keyed.every(([text]) => empty(text) || !Number.isNaN(number(text)));
    const compare = (a, b) => (plain ? number(a) - number(b) : words.compare(a, b));
    keyed.sort(([a], [b]) => empty(a) - empty(b) || (empty(a) ? 0 : sign * compare(a, b)));
    return keyed.map(([, row]) => row);
  }

  function element(name, settings, ...children) {
    const made = Object.assign(document.createElement(name), settings);
    made.append(...children);
    return made;
  }

  function enhance(table) {
    const frame = table.closest(".ua-scroll") || table;
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const status = element("span", { className: "ua-said", role: "status" });
    const tell = (more) => {
      const shown = rows.filter((row) => !row.hidden).length;
      status.textContent = `${shown} of ${rows.length} rows${more || ""}`;
    };
    addSorting(table, body, rows, tell);
    const tools = element("div", { className: "ua-tools" });
    tools.append(filter(rows, tell), status);
    const data = frame.querySelector('script[type="text/csv"]');
    if (data) tools.append(download(data.textContent, table.dataset.name || "table"));
    frame.before(tools);
    tell();
  }

  function addSorting(table, body, rows, tell) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const name = head.textContent.trim();
      const button = element("button", { type: "button", className: "ua-sort" }, ...head.childNodes);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        body.append(...inOrder(rows, column, down ? -1 : 1));
        tell(`, sorted by ${name}, ${down ? "largest" : "smallest"} first`);
      });
      head.append(button);
    });
  }

  function filter(rows, tell) {
    const field = element("input", { type: "search", autocomplete: "off", spellcheck: false });
    field.addEventListener("input", () => {
      const asked = field.value.toLowerCase().split(/\s+/);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !asked.every((word) => text.includes(word));
      }
      tell();
    });
    return element("label", {}, "Show rows with ", field);
  }

  function download(data, name) {
    const button = element("button", { type: "button", className: "ua-csv" }, "Download CSV");
    button.addEventListener("click", () => {
      const url = URL.createObjectURL(new Blob([data], { type: "text/csv" }));
      element("a", { href: url, download: `${name}.csv` }).click();
      setTimeout(() => URL.revokeObjectURL(url));
    });
    return button;
  }

  document.querySelectorAll("table.ua-big").forEach(enhance);
})();
