/* The stages as drawings: one function for the page and for the exported file. Circles are resnets,
   squares transformer blocks, ≠ and a doubled edge mark what differs. */
(() => {
  "use strict";
  const UA = (globalThis.UNetAtlas ??= { data: {} });
  const { amount, share, size, escape, NBSP } = UA.words;

  const LINE = 12.5;
  const PAD = 9;
  const CONV = "var(--ua-conv,#0072b2)";
  const BAR = "var(--ua-accent,#0b5e8e)";
  const MARK = "≠ ";

  /** Width of words in the drawing's font, near enough to keep them apart. */
  function textWidth(words, px = 11.5) {
    let units = 0;
    for (const c of words) units += /[il.,·|]/.test(c) ? 0.3 : /[MW≠×²%A-Z]/.test(c) ? 0.7 : 0.56;
    return units * px;
  }

  function text(x, y, words, more = "") {
    return `<text x="${num(x)}" y="${num(y)}"${more}>${escape(words)}</text>`;
  }

  function num(n) {
    return String(Math.round(n * 100) / 100);
  }

  /** Layers of a stage: a row for each resnet with the attention module that follows it. */
  function layerCount(place) {
    return Math.max(place.stage.resnets, place.stage.depths.length, 1);
  }

  /** Height of the drawings of a row of the U: that of its tallest stage. */
  function heightOf(places) {
    const tall = (place) => (place.stage.level === null
      ? 34 : 25 + LINE * layerCount(place) + (place.stage.heads ? 14 : 0)) + 27;
    return Math.max(...places.filter(Boolean).map(tall), 40);
  }

  /**
   * One stage as SVG markup, `w` by `h` pixels.
   * @param {Set<string>} differs facts in which the models differ
   * @param {number} most         the largest value in the view, which fills the bar
   */
  function stage(place, w, h, differs, quantity, most) {
    const { stage: s } = place;
    const mark = (fact) => (differs.has(fact) ? MARK : "");
    const parts = [frame(w, h, differs.size > 0)];
    const name = s.level === null ? s.key : `${s.key} · ${size(place.size)}`;
    const width = s.level === null ? `${s.channels_in} → ${s.channels_out}` : String(s.channels_out);
    parts.push(text(PAD, 16, mark("stage") + name));
    parts.push(text(w - PAD, 16, mark("channels") + width, ' text-anchor="end" font-weight="700"'));
    if (s.level === null) {
      parts.push(text(PAD, 31, s.key === "stem" ? "convolution, embeddings" : "norm, convolution",
        ' class="ux-faint"'));
    } else {
      for (let i = 0; i < layerCount(place); i += 1) {
        parts.push(layer(s, i, w, 25 + LINE * i + 3, i ? "" : mark("layers").trim()));
      }
      if (s.heads) {
        const words = `${mark("heads")}${s.heads} heads × ${s.head_dim}`;
        parts.push(text(PAD, 25 + LINE * layerCount(place) + 10, words, ' class="ux-faint"'));
      }
    }
    return parts.join("") + meter(place, w, h, quantity, most);
  }

  function frame(w, h, marked) {
    const box = `<rect class="ux-frame" x=".75" y=".75" width="${num(w - 1.5)}" `
      + `height="${num(h - 1.5)}" rx="4"/>`;
    return marked ? `${box}<path class="ux-edge" d="M4.25 4V${num(h - 4)}"/>` : box;
  }

  /** The i-th resnet and attention module: ○ ■ ■ 2. */
  function layer(s, i, w, y, mark) {
    const parts = [];
    const x = PAD + 14;
    if (i < s.resnets) {
      parts.push(`<circle cx="${PAD + 4.5}" cy="${num(y)}" r="3.7" fill="none" stroke="${CONV}" `
        + 'stroke-width="1.8"/>');
    }
    const end = mark ? ` ${mark}` : "";
    if (i >= s.depths.length) {
      const words = (s.depths.length || i ? "" : "no attention") + end;
      if (words) parts.push(text(x, y + 4, words.trim(), ' class="ux-faint"'));
      return parts.join("");
    }
    const depth = s.depths[i];
    if (!depth) {
      parts.push(`<path d="M${x} ${num(y)}l4 -4l4 4l-4 4z" fill="currentColor"/>`);
      parts.push(text(x + 12, y + 4, `attn${end}`));
      return parts.join("");
    }
    const room = w - x - PAD - textWidth(`${depth}${end}`) - 4;
    const shown = Math.min(depth, Math.floor(room / 3));
    const pitch = Math.min(8, room / shown);
    for (let j = 0; j < shown; j += 1) {
      parts.push(`<rect x="${num(x + j * pitch)}" y="${num(y - 3.2)}" width="${num(0.78 * pitch)}" `
        + 'height="6.4" fill="currentColor"/>');
    }
    parts.push(text(x + shown * pitch + 3, y + 4, `${depth}${end}`));
    return parts.join("");
  }

  /** The chosen quantity: a bar, its value, and its share of the model. */
  function meter(place, w, h, quantity, most) {
    const n = UA.model.value(place, quantity);
    const y = h - 9;
    const long = most && n ? Math.max(1.5, (n / most) * (w - 2 * PAD)) : 0;
    const total = quantity === "tokens" ? null : place.total[quantity];
    const words = n === null
      ? (quantity === "tokens" ? "no attention" : "not computed")
      : amount(n, quantity) + (quantity === "tokens" ? `${NBSP}tokens` : "");
    return `<rect class="ux-rail" x="${PAD}" y="${num(y)}" width="${num(w - 2 * PAD)}" height="4"/>`
      + `<rect x="${PAD}" y="${num(y)}" width="${num(long)}" height="4" fill="${BAR}"/>`
      + text(PAD, y - 4, words, ' class="ux-value"')
      + text(w - PAD, y - 4, total ? share(n, total) : "", ' text-anchor="end" class="ux-faint"');
  }

  /** The dashed way from a down stage to its up stage. */
  function skip(w) {
    return `<path d="M1 6H${w - 5}" stroke="currentColor" stroke-dasharray="3 2" fill="none"/>`
      + `<path d="M${w - 6} 3L${w - 1} 6L${w - 6} 9z" fill="currentColor"/>`;
  }

  UA.draw = { stage, heightOf, skip, text, num };
})();
