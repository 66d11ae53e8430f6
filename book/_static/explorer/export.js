/* The view as a picture (SVG) and its data as a table (CSV). */
(() => {
  "use strict";
  const UA = (globalThis.UNetAtlas ??= { data: {} });
  const { draw, words } = UA;
  const { amount, arrow, heads, size, NAMES } = words;
  const { differences, levelsOf, value } = UA.model;

  const COLUMN = 205;
  const GAP = 22;
  const BETWEEN = 44;
  const HALF = 2 * COLUMN + GAP;
  const WIDTH = 2 * HALF + BETWEEN + 24;
  const LINE = 15;

  /** Every operation of both models at the sizes that are shown, one line each. */
  function csv(view) {
    const columns = [
      "model", "latent_height", "latent_width", "place", "stage", "level", "block", "module", "kind",
      "operation", "equal_modules", "channels_in", "channels_out", "heads", "head_dim", "context",
      "parameters", "macs", "activation_bytes", "attention_tokens",
    ];
    const lines = [columns];
    for (const model of [view.a, view.b]) {
      for (const [key, place] of model.places) {
        for (const row of place.rows) {
          const block = place.blocks.find((b) => b.rows.includes(row));
          const sum = UA.model.sum([row]);
          lines.push([
            model.name, ...model.latent, key, place.stage.key, place.stage.level,
            block?.name === "between" ? "" : block?.path, row.path, row.kind, row.role, row.times,
            row.channels_in, row.channels_out, row.heads, row.head_dim, row.context,
            sum.params, sum.macs, sum.bytes, row.heads === null ? null : place.tokens,
          ]);
        }
      }
    }
    return `${lines.map((line) => line.map(quoted).join(",")).join("\r\n")}\r\n`;
  }

  /** A cell; a text that a spreadsheet would take for a formula gets a quote in front. */
  function quoted(cell) {
    if (cell === null || cell === undefined) return "";
    let text = String(cell);
    if (typeof cell === "string" && /^[=+@\t-]/.test(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  /** A stand-alone file: the two U's as they are shown, open stages with their blocks. */
  function svg(view, address) {
    const parts = [];
    const lefts = [12, 12 + HALF + BETWEEN];
    const models = [view.a, view.b];
    let y = 26;
    models.forEach((model, i) => heading(model, lefts[i], y, parts));
    y += 46;
    const most = UA.view.most(view);
    for (const row of levelsOf(models)) {
      y = drawRow(view, row, lefts, y, most, parts);
    }
    parts.push(draw.text(12, y + 8, `Bars: ${NAMES[view.state.q]}. ○ resnet, ■ transformer block, `
      + "≠ and a doubled edge: differs.", ' class="ux-faint"'));
    parts.push(draw.text(12, y + 8 + LINE, `UNet Atlas, ${address}`, ' class="ux-faint"'));
    const height = Math.ceil(y + 34);
    const title = `${models[0].name} and ${models[1].name}, by ${NAMES[view.state.q]}`;
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" `
      + `width="${WIDTH}" height="${height}" role="img" color="#1d2125" `
      + 'font-family="system-ui,-apple-system,Segoe UI,Roboto,sans-serif" font-size="11.5" '
      + `fill="currentColor"><title>${words.escape(title)}</title>${STYLE}`
      + `<rect width="100%" height="100%" fill="#fff"/>${parts.join("")}</svg>\n`;
  }

  const STYLE = "<style>.ux-frame{fill:none;stroke:currentColor;stroke-opacity:.55}"
    + ".ux-edge{stroke:currentColor;stroke-width:1.2}.ux-faint{opacity:.72}"
    + ".ux-value{font-weight:600}.ux-rail{opacity:.14}</style>";

  function heading(model, x, y, parts) {
    parts.push(draw.text(x, y, model.name, ' font-size="15" font-weight="700"'));
    const picture = model.picture ? `${size(model.picture, true)} px, ` : "";
    const facts = [
      `${picture}latent ${size(model.latent, true)}`,
      `${amount(model.total.params, "params")} parameters`, amount(model.total.macs, "macs"),
    ];
    parts.push(draw.text(x, y + 17, facts.join(" · "), ' class="ux-faint"'));
  }

  function drawRow(view, row, lefts, y, most, parts) {
    const models = [view.a, view.b];
    const pairs = row.places.map((key) => [key, models.map((m) => m.places.get(key))]);
    const height = draw.heightOf(pairs.flatMap(([, places]) => places));
    const deepest = Math.max(...levelsOf(models).map((r) => r.level ?? 0)) + 1;
    for (const [key, places] of pairs) {
      const middle = key === "mid";
      const left = UA.view.inset(middle ? deepest : row.level, 9);
      const w = middle ? HALF - 2 * left : COLUMN - left;
      const right = key.startsWith("up") || key === "head";
      places.forEach((place, i) => {
        const x = lefts[i] + (right ? COLUMN + GAP : left);
        const inner = place
          ? draw.stage(place, w, height, differences(...places), view.state.q, most)
          : `<rect x=".75" y=".75" width="${w - 1.5}" height="${height - 1.5}" rx="4" fill="none" `
            + `stroke="currentColor" stroke-dasharray="4 3" opacity=".5"/>${
              draw.text(9, 18, "≠ no stage here", ' class="ux-faint"')}`;
        parts.push(`<g transform="translate(${draw.num(x)} ${draw.num(y)})">${inner}</g>`);
        if (key.startsWith("down") && place) {
          const at = `translate(${lefts[i] + COLUMN} ${draw.num(y + height / 2 - 6)})`;
          parts.push(`<g transform="${at}">${draw.skip(GAP)}</g>`);
        }
      });
    }
    let bottom = y + height + 14;
    for (const [key, places] of pairs) {
      if (view.state.open.some((id) => id === key || id.startsWith(`${key}/`))) {
        bottom = drawBlocks(view, key, places, lefts, bottom, parts);
      }
    }
    return bottom;
  }

  /** The blocks of an open stage as lines of text, both models side by side. */
  function drawBlocks(view, key, places, lefts, y, parts) {
    parts.push(draw.text(lefts[0], y + 8, `${UA.view.placeName(key)}, blocks`,
      ' font-weight="700"'));
    let longest = 0;
    places.forEach((place, i) => {
      const lines = (place?.blocks ?? []).flatMap((block) => blockLines(view, key, block));
      lines.forEach(([text, number, deep], j) => {
        const at = y + 8 + LINE * (j + 1);
        parts.push(draw.text(lefts[i] + 12 * deep, at, text, deep ? ' class="ux-faint"' : ""));
        parts.push(draw.text(lefts[i] + HALF - 4, at, number, ' text-anchor="end"'));
      });
      longest = Math.max(longest, lines.length);
    });
    return y + 8 + LINE * (longest + 1) + 10;
  }

  function blockLines(view, key, block) {
    const { q } = view.state;
    const facts = [block.name === "between" ? "joining the skips" : block.name, arrow(block)];
    if (block.transformer_blocks) facts.push(`depth ${block.transformer_blocks}`);
    if (block.heads !== null) facts.push(heads(block));
    const lines = [[facts.filter(Boolean).join(" · "), amount(value(block, q), q), 0]];
    if (view.state.open.includes(`${key}/${block.name}`)) {
      for (const row of block.rows) {
        const name = row.path.slice(block.path.length + 1) || "additions, copies";
        const sum = UA.model.sum([row]);
        const n = q === "tokens" ? null : sum[q];
        lines.push([clip(`${name} · ${row.kind}${row.times > 1 ? ` × ${row.times}` : ""}`),
          n === null ? "" : amount(n, q), 1]);
      }
    }
    return lines;
  }

  function clip(text) {
    return text.length > 62 ? `${text.slice(0, 61)}…` : text;
  }

  /** Hand a text to the reader as a file. */
  function save(name, type, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  function fileName(view, ending) {
    const plain = (text) => text.toLowerCase().replace(/[^a-z0-9.]+/g, "-").replace(/^-+|-+$/g, "");
    return `unet-atlas-${plain(view.a.name)}-${plain(view.b.name)}.${ending}`;
  }

  UA.exports = { csv, svg, save, fileName };
})();
