/* Numbers and shapes in words, as the book's tables write them. */
(() => {
  "use strict";
  const UA = (globalThis.UNetAtlas ??= { data: {} });

  const NBSP = "\u00a0";
  const NONE = "–";
  const NAMES = {
    params: "parameters", macs: "MACs", bytes: "activation bytes", tokens: "attention tokens",
  };

  const FORMATS = [0, 1, 2, 3].map((digits) => new Intl.NumberFormat("en-US",
    { minimumFractionDigits: digits, maximumFractionDigits: digits }));

  /** `859,520,964`. */
  function whole(n) {
    return n === null || n === undefined ? NONE : FORMATS[0].format(n);
  }

  /** In the largest of the units that leaves at least one: `401.6 GMACs`. */
  function short(n, units, base = 1000) {
    let i = 0;
    let rest = n;
    while (rest >= base && i < units.length - 1) {
      rest /= base;
      i += 1;
    }
    return `${fixed(rest, i === 0 ? 0 : rest >= 100 ? 1 : 2)}${NBSP}${units[i]}`;
  }

  function fixed(n, digits) {
    return FORMATS[digits].format(n);
  }

  /** A value of one of the four quantities, short, with its unit. */
  function amount(n, quantity) {
    if (n === null || n === undefined) return NONE;
    if (quantity === "params") return n < 100_000 ? whole(n) : `${fixed(n / 1e6, 2)}${NBSP}M`;
    if (quantity === "macs") return short(n, ["MACs", "kMACs", "MMACs", "GMACs"]);
    if (quantity === "bytes") return short(n, ["B", "KiB", "MiB", "GiB"], 1024);
    return whole(n);
  }

  /** `4.3 %`. */
  function share(part, total) {
    if (!total || part === null) return "";
    const percent = (100 * part) / total;
    if (part && percent < 0.05) return `<${NBSP}0.1${NBSP}%`;
    return `${percent < 9.95 ? percent.toFixed(1) : Math.round(percent)}${NBSP}%`;
  }

  /** `× 2.99`, `× 24,690`; nothing where there is nothing to divide by. */
  function ratio(first, second) {
    if (!first || second === null || second === undefined) return NONE;
    const times = second / first;
    const digits = times >= 100 || !times ? 0 : times >= 10 ? 1 : times >= 0.1 ? 2 : 3;
    if (times && times < 0.0005) return `×${NBSP}<${NBSP}0.001`;
    return `×${NBSP}${fixed(times, digits)}`;
  }

  /** `64²`, or `96 × 64` where height and width differ. */
  function size([height, width], exact = false) {
    if (!exact && height === width) return `${height}²`;
    return `${height}${NBSP}×${NBSP}${width}`;
  }

  /** `10, 10`: transformer blocks of each attention module. */
  function depths(stage) {
    return stage.depths.map((d) => d || "attn").join(", ") || NONE;
  }

  function heads(thing) {
    return thing.heads === null ? NONE : `${thing.heads}${NBSP}×${NBSP}${thing.head_dim}`;
  }

  function arrow(thing) {
    if (thing.channels_in === null && thing.channels_out === null) return "";
    return `${thing.channels_in ?? NONE}${NBSP}→${NBSP}${thing.channels_out ?? NONE}`;
  }

  /** What goes through one operation: `640 → 640 at 32 × 32`, `768 → 640, 77 text tokens`. */
  function through(row, model) {
    const text = `${model.tokens} text tokens`;
    const level = Number(row.at);
    const cells = Number.isInteger(level) ? UA.formula.sizeAt(model.latent, level) : null;
    const count = cells ? whole(cells[0] * cells[1]) : "";
    if (row.heads !== null) {
      const keys = row.role === "cross-attention" ? text : `${count}`;
      return `${heads(row)} (heads × dim), ${count} × ${keys}`;
    }
    const widths = arrow(row);
    if (!widths) return cells ? `at ${size(cells, true)}` : "";
    if (row.at === "text") return `${widths}, ${text}`;
    if (!cells) return `${widths}, once`;
    const tokens = row.kind === "Linear" || row.kind === "LayerNorm";
    return tokens ? `${widths}, ${count} tokens` : `${widths} at ${size(cells, true)}`;
  }

  function escape(text) {
    return String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  }

  UA.words = {
    NAMES, NONE, NBSP, whole, amount, share, ratio, size, depths, heads, arrow, through, escape,
  };
})();
