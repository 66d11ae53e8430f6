/* The page's moving parts: the two U's, the panels that open in place, the table of totals. */
(() => {
  "use strict";
  const UA = (globalThis.UNetAtlas ??= { data: {} });
  const { draw, words } = UA;
  const { differences, levelsOf, value } = UA.model;
  const { NAMES, NONE, amount, arrow, depths, heads, ratio, size, through, whole } = words;

  const SIDES = ["a", "b"];
  const UNKNOWN = "not known";
  const COUNTED = ["params", "macs", "bytes", "tokens"];

  /** An element with attributes (false and null are left out; on… are listeners) and children. */
  function h(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [key, given] of Object.entries(attributes)) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), given);
      else if (given !== false && given !== null) element.setAttribute(key, given === true ? "" : given);
    }
    element.append(...children.flat().filter((c) => c !== null && c !== ""));
    return element;
  }

  /** A drawing of our own making as an element; its words are escaped where they are set. */
  function picture(w, height, markup) {
    const box = document.createElement("template");
    box.innerHTML = `<svg width="${w}" height="${height}" viewBox="0 0 ${w} ${height}" `
      + `aria-hidden="true" focusable="false">${markup}</svg>`;
    return box.content.firstChild;
  }

  // --- the U ------------------------------------------------------------------------------------

  /** The largest value that a stage has for the chosen quantity: it fills its bar. */
  function most(view) {
    const all = SIDES.flatMap((side) => [...view[side].places.values()]);
    return Math.max(...all.map((place) => value(place, view.state.q) ?? 0));
  }

  /** How far a box stands in from the outside of its U, in pixels. */
  function inset(level, step) {
    return (level ?? 0) * step;
  }

  /** The two U's, one row a level; `toggle(place)` opens or shuts a panel. */
  function u(view, width, toggle) {
    const narrow = width < 720;
    const gap = 22;
    const half = narrow ? width : (width - 76) / 2;
    const column = (half - gap) / 2;
    const look = { narrow, half, column, gap, most: most(view), step: narrow ? 5 : 9 };
    return levelsOf([view.a, view.b]).map((row) => levelRow(view, row, look, toggle));
  }

  function levelRow(view, row, look, toggle) {
    const pairs = row.places.map((key) => [key, SIDES.map((side) => view[side].places.get(key))]);
    const height = draw.heightOf(pairs.flatMap(([, places]) => places));
    const sides = SIDES.map((side, i) => {
      const cells = pairs.map(([key, places]) => {
        const differs = differences(...places);
        return cell(view, { key, place: places[i], differs, side, row, height }, look, toggle);
      });
      const skips = row.level !== undefined && pairs.every(([, places]) => places[i]);
      const joint = cells.length < 2 ? [] : [skips ? skipPicture(look, height)
        : h("span", { class: "ux-skip", style: `width:${look.gap}px` })];
      const named = look.narrow
        ? [h("p", { class: "ux-who", "aria-hidden": "true" }, view[side].name)] : [];
      return h("div", { class: `ux-side ux-${side}` }, named,
        h("div", { class: "ux-pair" }, cells[0], joint, cells.slice(1)));
    });
    const panels = h("div", { class: "ux-panels" },
      pairs.map(([key]) => h("div", { class: "ux-panel", id: panelId(key), hidden: true })));
    return h("section", { class: "ux-level", "aria-label": row.title },
      h("div", { class: "ux-row" }, sides[0], h("h2", { class: "ux-title" }, row.title), sides[1]),
      panels);
  }

  function skipPicture(look, height) {
    const svg = picture(look.gap, 12, draw.skip(look.gap));
    svg.classList.add("ux-skip");
    svg.style.marginTop = `${height / 2 - 6}px`;
    return svg;
  }

  function cell(view, { key, place, differs, side, row, height }, look, toggle) {
    const middle = key === "mid";
    const depth = middle ? Math.max(...levelsOf([view.a, view.b]).map((r) => r.level ?? 0)) + 1
      : row.level;
    const left = inset(depth, look.step);
    const w = Math.floor(middle ? look.half - 2 * left - 8 : look.column - left);
    const way = key.startsWith("up") || key === "head" ? "up" : middle ? "mid" : "down";
    if (!place) {
      return h("div", { class: `ux-none ux-${way}`, style: `width:${w}px;height:${height}px` },
        h("span", {}, `≠ ${view[side].name} has no stage here`));
    }
    return h("button", {
      type: "button", class: `ux-stage ux-${way}`, "data-place": key, "data-side": side,
      "aria-expanded": "false", "aria-controls": panelId(key),
      onclick: () => toggle(key),
    }, h("span", { class: "ux-said" }, told(view[side], place, differs, view.state.q)),
    picture(w, height, draw.stage(place, w, height, differs, view.state.q, look.most)));
  }

  /** A stage in words, for those who listen. */
  function told(model, place, differs, quantity) {
    const { stage: s } = place;
    const n = value(place, quantity);
    const parts = [`${model.name}, ${s.key}`];
    if (place.size) parts.push(`at ${place.size.join(" by ")}`);
    parts.push(`${s.channels_in} to ${s.channels_out} channels`);
    if (s.level !== null) {
      parts.push(`${s.resnets} resnets`,
        s.heads ? `transformer blocks ${depths(s)}, ${s.heads} heads of ${s.head_dim}`
          : "no attention");
    }
    const much = n === null ? "no" : amount(n, quantity);
    parts.push(much.endsWith(NAMES[quantity]) ? much : `${much} ${NAMES[quantity]}`);
    const names = { stage: "stage", layers: "depth", channels_in: "channels in" };
    if (differs.size) {
      parts.push(`differs in ${[...differs].map((d) => names[d] ?? d).join(", ")}`);
    }
    return `${parts.join("; ")}.`;
  }

  function panelId(key) {
    return `ux-${key}`;
  }

  // --- what opens in place ----------------------------------------------------------------------

  /** The panel of a place: its facts, and its blocks with what is in them. */
  function panel(view, key, openBlocks, toggle) {
    const places = SIDES.map((side) => view[side].places.get(key));
    const title = placeName(key);
    return [
      h("div", { class: "ux-head" }, h("h3", {}, title),
        h("button", {
          type: "button", class: "ux-shut", "aria-label": `Close ${title}`,
          onclick: () => toggle(key),
        }, "Close")),
      factTable(view, places, title),
      blockTable(view, key, places, openBlocks, toggle),
    ];
  }

  function placeName(key) {
    const [side, level] = key.split("-");
    const known = { stem: "Stem", head: "Head", mid: "Middle" };
    return known[key] ?? `${side === "down" ? "Down" : "Up"}, level ${level}`;
  }

  function header(view, first) {
    return h("thead", {}, h("tr", {}, h("th", { scope: "col" }, first),
      SIDES.map((side) => h("th", { scope: "col" }, view[side].name))));
  }

  function factTable(view, places, title) {
    const stage = (read) => (place) => (place ? read(place.stage, place) : NONE);
    const facts = [
      ["module", stage((s, p) => (p.path ? code(p.path) : s.block))],
      ["class", stage((s, p) => (p.path ? code(s.block) : NONE))],
      ["size", stage((s, p) => (p.size ? size(p.size, true) : NONE))],
      ["channels", stage((s) => arrow(s))],
      ["resnets", stage((s) => (s.resnets ? String(s.resnets) : NONE))],
      ["transformer blocks", stage((s) => depths(s))],
      ["heads × dim", stage((s) => heads(s))],
      ["context (text width)", stage((s) => String(s.cross_attention_dim ?? NONE))],
      ["projection", stage((s) => s.projection ?? NONE)],
      ...COUNTED.map((q) => [NAMES[q], (place) => whole(value(place, q)), q]),
    ];
    const rows = facts.map(([name, read, quantity]) => {
      const cells = places.map(read);
      const plain = cells.map((c) => c.textContent ?? c);
      const differs = plain[0] !== plain[1];
      if (!differs && plain[0] === NONE) return null;
      const times = quantity && differs && places[0] && places[1]
        ? ratio(value(places[0], quantity), value(places[1], quantity)) : NONE;
      return h("tr", { class: differs && "ux-differs" },
        h("th", { scope: "row" }, differs ? "≠ " : "", name),
        h("td", {}, cells[0]), h("td", {}, cells[1], timesOf(times)));
    });
    return scroll(`${title}, facts`, h("table", { class: "ux-facts" },
      h("caption", {}, "≠ marks what differs; × is right by left"), header(view, "what"),
      h("tbody", {}, rows.filter(Boolean))));
  }

  /** How many times the left value the right one is, behind it. */
  function timesOf(times) {
    return times && times !== NONE ? h("small", { class: "ux-times" }, ` ${times}`) : "";
  }

  function code(path) {
    return h("code", {}, ...broken(path));
  }

  /** A module's path that may break after a dot. */
  function broken(path) {
    return path.split(/(?<=\.)/).flatMap((part) => [part, h("wbr")]).slice(0, -1);
  }

  /** Blocks of both models paired by name; each opens to its operations in place. */
  function blockTable(view, key, places, openBlocks, toggle) {
    const named = places.map((p) => new Map((p?.blocks ?? []).map((b) => [b.name, b])));
    const order = mergedBlocks([...named[0].keys()], [...named[1].keys()]);
    const body = h("tbody");
    const top = Math.max(...places.flatMap((p) => p?.blocks ?? [])
      .map((b) => value(b, view.state.q) ?? 0));
    for (const name of order) {
      const pair = named.map((blocks) => blocks.get(name));
      const id = `${key}/${name}`;
      const open = openBlocks.has(id);
      body.append(blockRow(view, id, name, pair, open, toggle, top));
      if (open) body.append(operationRow(view, id, name, pair));
    }
    return scroll(`${placeName(key)}, blocks`, h("table", { class: "ux-blocks" },
      h("caption", {}, "Blocks, in the order of the forward pass"),
      header(view, "block"), body));
  }

  /** The blocks of two stages as one list; what joins and resamples comes last. */
  function mergedBlocks(first, second) {
    const result = merged(first, second);
    const last = (n) => /samplers|between/.test(n);
    return [...result.filter((n) => !last(n)), ...result.filter(last)];
  }

  /** A bar for the chosen quantity, as long as its share of the largest one beside it. */
  function bar(n, most_) {
    if (!most_ || !n) return "";
    const width = Math.max(1, (100 * n) / most_);
    return h("span", { class: "ux-bar", "aria-hidden": "true", style: `--part:${width}%` });
  }

  function blockRow(view, id, name, pair, open, toggle, top) {
    const facts = pair.map((block) => blockFacts(block));
    const differs = facts[0] !== facts[1] || pair[0]?.sum.params !== pair[1]?.sum.params;
    const label = name === "between" ? "joining the skips" : name;
    return h("tr", { class: differs && "ux-differs" },
      h("th", { scope: "row" },
        h("button", {
          type: "button", class: "ux-block", "aria-expanded": String(open), "data-block": id,
          onclick: () => toggle(id),
        }, differs ? h("span", { class: "ux-mark" }, "≠ ") : "", label)),
      pair.map((block, i) => h("td", {}, block
        ? [h("span", { class: "ux-fact" }, facts[i]), counts(view, block),
          bar(value(block, view.state.q), top)] : NONE)));
  }

  function blockFacts(block) {
    if (!block) return "";
    const parts = [block.kind, arrow(block)];
    if (block.transformer_blocks) parts.push(`depth ${block.transformer_blocks}`);
    if (block.heads !== null) parts.push(heads(block));
    if (block.cross_attention_dim) parts.push(`text ${block.cross_attention_dim}`);
    return parts.filter(Boolean).join(" · ") || "concatenations";
  }

  /** The four quantities of a block or an operation, the chosen one in bold. */
  function counts(view, thing) {
    return h("span", { class: "ux-counts" }, COUNTED.map((q) => {
      const n = value(thing, q);
      if (n === null || (n === 0 && q !== view.state.q)) return null;
      const unit = { params: "\u00a0par.", tokens: "\u00a0tokens" }[q] ?? "";
      return [h(q === view.state.q ? "b" : "span", { title: `${whole(n)} ${NAMES[q]}` },
        amount(n, q) + unit), " "];
    }).filter(Boolean).flat());
  }

  /** The row below a block with its operations, from the block's id (`down-1/resnets.0`). */
  function operations(view, id) {
    const [key, name] = id.split("/");
    const find = (side) => view[side].places.get(key)?.blocks.find((b) => b.name === name);
    return operationRow(view, id, name, SIDES.map(find));
  }

  function operationRow(view, id, name, pair) {
    const prefix = pair.map((block) => (block ? block.path : ""));
    const short = (row, i) => row.path.slice(prefix[i].length + 1) || row.kind;
    const key = (row, i) => short(row, i).replace(/\.0–\d+\./, ".0.").replace(/\.0–\d+$/, ".0");
    const named = pair.map((block, i) => new Map(
      (block?.rows ?? []).map((row) => [key(row, i), { row, name: short(row, i) }])));
    const order = merged([...named[0].keys()], [...named[1].keys()]);
    const quantity = view.state.q === "tokens" ? "params" : view.state.q;
    const top = Math.max(...pair.flatMap((block) => block?.rows ?? [])
      .map((row) => row.times * (row[quantity] ?? 0)));
    const rows = order.map((each) => {
      const found = named.map((rowsOf) => rowsOf.get(each));
      const cells = found.map((f, i) => operationCell(view, f?.row, view[SIDES[i]], top));
      const differs = cells[0].textContent !== cells[1].textContent;
      const first = found.filter(Boolean).sort((f, g) => g.row.times - f.row.times)[0];
      const label = first.row.path === first.name || first.name === first.row.kind
        ? "additions, copies" : first.name;
      return h("tr", { class: differs && "ux-differs" },
        h("th", { scope: "row" }, differs ? "≠ " : "", ...broken(label.replace(/\.0–\d+/, ".*")),
          h("small", {}, first.row.role)),
        cells);
    });
    const modules = pair.map((block) => (block ? code(block.path) : NONE));
    return h("tr", { class: "ux-inner" }, h("td", { colspan: "3" },
      h("table", { class: "ux-operations" },
        h("caption", {}, `Operations of ${name}; × 10 stands for ten equal modules, `
          + "numbers are their sum"),
        header(view, "module"),
        h("tbody", {}, h("tr", {}, h("th", { scope: "row" }, "in diffusers"),
          modules.map((m) => h("td", {}, m))), rows))));
  }

  /** Two lists of names as one, each in its order. */
  function merged(first, second) {
    const result = [...first];
    second.forEach((name, i) => {
      if (result.includes(name)) return;
      const before = second.slice(0, i).reverse().find((n) => result.includes(n));
      result.splice(before === undefined ? 0 : result.indexOf(before) + 1, 0, name);
    });
    return result;
  }

  function operationCell(view, row, model, top) {
    if (!row) return h("td", {}, NONE);
    const sum = UA.model.sum([row]);
    const times = row.times > 1 ? ` × ${row.times}` : "";
    return h("td", {},
      h("span", { class: "ux-fact" }, `${row.kind}${times}`,
        through(row, model) ? ` · ${through(row, model)}` : ""),
      counts(view, { sum, tokens: null }),
      view.state.q === "tokens" ? "" : bar(sum[view.state.q], top));
  }

  function scroll(label, table) {
    return h("div", { class: "ux-scroll", role: "region", "aria-label": label, tabindex: "0" }, table);
  }

  // --- totals -----------------------------------------------------------------------------------

  /** Both models as wholes: one line a model where there is room, else one line a fact. */
  function totals(view, wide) {
    const models = SIDES.map((side) => view[side]);
    const counted = (q) => (m) => (q === "tokens" ? m.longest : m.total[q]);
    const rows = [
      ["picture", (m) => (m.picture ? `${size(m.picture, true)} px` : UNKNOWN)],
      ["latent", (m) => size(m.latent, true)],
      ["levels", (m) => String(new Set(m.stages.map((s) => s.level).filter((n) => n !== null)).size)],
      ["blocks", (m) => String(m.transformers)],
      ["context", (m) => String(contextOf(m))],
      ...COUNTED.map((q) => [q === "tokens" ? "longest attention" : NAMES[q],
        (m) => `${amount(counted(q)(m), q)}`, q]),
    ].map(([name, read, q]) => {
      const cells = models.map(read);
      const exact = q ? models.map(counted(q)) : [null, null];
      const differs = !cells.includes(UNKNOWN)
        && (cells[0] !== cells[1] || exact[0] !== exact[1]);
      return {
        name: (differs ? "≠ " : "") + name, differs, times: q && differs ? ratio(...exact) : "",
        cells: cells.map((c, i) => h("td", { title: q ? whole(exact[i]) : null }, c)),
      };
    });
    const column = (name) => h("th", { scope: "col" }, name);
    const line = (name, cells, differs) => h("tr", { class: differs && "ux-differs" },
      h("th", { scope: "row" }, name), cells);
    const td = (text) => h("td", {}, text);
    const [head, body] = wide
      ? [["", ...rows.map((r) => r.name)], [
        ...models.map((m, i) => line(m.name, rows.map((r) => r.cells[i]))),
        line("right : left", rows.map((r) => td(r.times)))]]
      : [["", ...models.map((m) => m.name)], rows.map((r) => {
        r.cells[1].append(timesOf(r.times));
        return line(r.name, r.cells, r.differs);
      })];
    return scroll("Totals", h("table", { class: wide ? "ux-totals ux-wide" : "ux-totals" },
      h("caption", {}, "One forward pass for one picture, float32; ≠ marks what differs"),
      h("thead", {}, h("tr", {}, head.map((name) => (name ? column(name) : td(""))))),
      h("tbody", {}, body)));
  }

  function contextOf(model) {
    return model.stages.find((s) => s.cross_attention_dim)?.cross_attention_dim ?? NONE;
  }

  /** The configuration's keys in which the models differ. */
  function configTable(view) {
    const text = (value_) => JSON.stringify(value_).replaceAll('"', "").replaceAll(",", ", ");
    const keys = Object.keys(UA.config.DEFAULTS).filter(
      (key) => text(view.a.config[key] ?? null) !== text(view.b.config[key] ?? null));
    if (!keys.length) return { count: 0, table: h("p", {}, "The two configurations are equal.") };
    const cellOf = (value_) => h("td", {}, value_ ?? "null");
    const table = scroll("Configuration", h("table", { class: "ux-config" }, header(view, "key"),
      h("tbody", {}, keys.map((key) => h("tr", { class: "ux-differs" },
        h("th", { scope: "row" }, "≠ ", key),
        SIDES.map((side) => cellOf(text(view[side].config[key] ?? null))))))));
    return { count: keys.length, table };
  }

  UA.view = { h, u, panel, operations, panelId, totals, configTable, most, placeName, inset };
})();
