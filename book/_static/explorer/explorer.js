/* The explorer's page: controls, the link, the reader's own UNet. Needs no server: from disk the
   data come as scripts, over http as JSON. Without this script the page shows a table instead. */
(() => {
  "use strict";
  const UA = globalThis.UNetAtlas;
  const { h } = UA.view;
  const { OWN, SIZES } = UA.state;
  const { NAMES } = UA.words;
  const { ConfigError, fail, short } = UA.config;

  /** Why data can't be had, and the remedy: the end of a sentence. */
  class LoadError extends Error {
    constructor(why, remedy = "try again later or, in a book of your own, run make book") {
      super(`${why}; ${remedy}.`);
      Object.assign(this, { why, remedy });
    }
  }

  const mount = document.getElementById("ua-explorer");
  const folder = new URL("data/", document.currentScript.src);
  const LABEL = "your UNet";
  const MAX_FILE = UA.config.TABLES.MAX_FILE_BYTES;
  const turns = UA.turns(UA.state.START, loadBoth);
  let index = [];
  let view = null;
  let lost = null; // the choices whose data could not be had
  let reading = 0; // how many files and texts of the reader's own there were
  const models = new Map();
  const parts = {};

  // --- data -------------------------------------------------------------------------------------

  /** A file of the data folder: JSON over http, a script where the page was opened from disk. */
  async function load(name) {
    if (location.protocol === "file:") return loadScript(name);
    // What failed once is asked past the browser's own store, where the fault may lie.
    const cache = lost ? "reload" : "default";
    const answer = await fetch(new URL(`${name}.json`, folder), { cache }).catch(() => {
      throw new LoadError("there is no answer", "check your connection and try again");
    });
    if (!answer.ok) throw new LoadError(`the server says ${answer.status}`);
    return answer.json();
  }

  function loadScript(name) {
    return new Promise((done, failed) => {
      const script = h("script", { src: new URL(`${name}.js`, folder).href });
      script.addEventListener("load", () => done(UA.data[name]));
      script.addEventListener("error", () => failed(new LoadError(`there is no file ${name}.js`)));
      document.head.append(script);
    });
  }

  /** The same, read; whatever is wrong with it ends in one sentence for the reader. */
  async function loadAs(name, what, read) {
    try {
      return read(await load(name));
    } catch (error) {
      const told = error instanceof LoadError ? error : new LoadError("the file is damaged");
      throw new LoadError(`${what} can't be loaded: ${told.why}`, told.remedy);
    }
  }

  function model(id, own) {
    if (id === OWN) return own;
    if (!models.has(id)) {
      const { name } = index.find((m) => m.id === id);
      const coming = loadAs(id, `The data of ${name}`, UA.model.fromDocument);
      models.set(id, coming);
      coming.catch(() => models.delete(id));
    }
    return models.get(id);
  }

  /** Both models of a state, at its size. */
  async function loadBoth({ a, b, r, own }) {
    const [left, right] = await Promise.all([model(a, own), model(b, own)]);
    return { a: UA.model.sized(left, r), b: UA.model.sized(right, r) };
  }

  // --- the page ---------------------------------------------------------------------------------

  function chooser(side, label) {
    return h("label", { class: "ux-field" }, h("span", {}, label),
      h("select", { "data-side": side, onchange: (e) => set({ [side]: e.target.value }) }));
  }

  function fillChoosers() {
    const { own } = turns.wanted();
    for (const select of mount.querySelectorAll("select[data-side]")) {
      const families = [["Stable Diffusion", "Stable Diffusion"], ["mini", "The mini family"]];
      const groups = families.map(([family, label]) => h("optgroup", { label },
        index.filter((m) => m.family === family).map((m) => h("option", { value: m.id }, m.name))));
      if (own) groups.push(h("optgroup", { label: "Yours" }, h("option", { value: OWN }, own.name)));
      select.replaceChildren(...groups);
      select.value = turns.shown()?.[select.dataset.side] ?? "";
    }
  }

  /** All controls say what is shown. */
  function fillControls() {
    const shown = turns.shown();
    fillChoosers();
    parts.size.value = shown?.r ?? "";
    for (const radio of parts.quantity.querySelectorAll("input")) {
      radio.checked = radio.value === shown?.q;
    }
  }

  function build() {
    const sizes = [h("option", { value: "" }, "each model's own"),
      ...SIZES.map((n) => h("option", { value: String(n) }, `${n} × ${n} pixels`))];
    parts.size = h("select", { onchange: (e) => set({ r: Number(e.target.value) || null }) }, sizes);
    parts.quantity = h("fieldset", { class: "ux-quantity" }, h("legend", {}, "Show"),
      h("div", {}, UA.state.QUANTITIES.map((q) => h("label", {},
        h("input", { type: "radio", name: "ux-q", value: q, onchange: () => adjust({ q }) }),
        h("span", {}, NAMES[q])))));
    parts.notice = h("p", { class: "ux-notice", role: "status", hidden: true });
    parts.again = action("Try again", () => set(lost));
    parts.again.hidden = true;
    parts.totals = h("div");
    parts.names = h("div", { class: "ux-names", "aria-hidden": "true" });
    parts.u = h("div", { class: "ux-u" });
    parts.config = h("div");
    parts.check = h("p", { class: "ux-check" });
    parts.fallback = h("details", { class: "ux-more ux-table" },
      h("summary", {}, "All models of the catalogue in one table"), ...mount.childNodes);
    mount.replaceChildren(
      h("div", { class: "ux-controls" }, chooser("a", "Left"),
        h("button", {
          type: "button", class: "ux-swap", "aria-label": "Swap left and right",
          onclick: swap,
        }, "⇄"),
        chooser("b", "Right"),
        h("label", { class: "ux-field" }, h("span", {}, "Picture"), parts.size), parts.quantity),
      h("div", { class: "ux-actions" },
        action("Copy link", copyLink), action("Save SVG", ifShown(saveSvg)),
        action("Save CSV", ifShown(saveCsv)), action("Open all stages", ifShown(openAll)),
        action("Close all", ifShown(() => adjust({ open: [] }))),
        action("Your own UNet …", () => {
          parts.own.open = true;
          parts.own.scrollIntoView({ block: "start" });
          parts.text.focus();
        })),
      parts.notice, parts.again, parts.totals, parts.names, parts.u, legend(), parts.check, parts.config,
      ownForm(), parts.fallback);
    mount.classList.add("ux");
    mount.addEventListener("keydown", keys);
    takeDrops();
    fillControls();
  }

  function action(label, onclick) {
    return h("button", { type: "button", class: "ux-action", onclick }, label);
  }

  /** What to do with the view, once there is one. */
  function ifShown(act) {
    return () => (view ? act() : say("There is no view yet; choose two models."));
  }

  function legend() {
    return h("p", { class: "ux-legend" },
      "○ resnet, ■ transformer block, ◆ bare attention, ⇢ skip connection. ",
      "≠ and a doubled edge mark what differs. Choose a stage to open it; the bars compare the "
      + "chosen quantity over both models.");
  }

  // --- state and drawing ------------------------------------------------------------------------

  /**
   * Show something else as soon as its data are there; what is shown stays until then.
   * @param {string} told    what to say with it
   * @param {boolean} linked whether the address is to name it
   */
  async function set(change, told = "", linked = true) {
    mount.setAttribute("aria-busy", "true");
    const { loaded, error, lost: missed, overtaken } = await turns.ask(change);
    if (overtaken) return;
    mount.removeAttribute("aria-busy");
    if (loaded) {
      view = loaded;
      show(told, linked);
      return;
    }
    fillControls();
    if (!view) parts.fallback.open = true;
    if (view && location.hash.includes("=")) address();
    say(error.message, missed);
    if (!(error instanceof LoadError)) throw error;
  }

  /** Change at once what needs no data: the quantity, and what is open. */
  function adjust(change) {
    if (!view) set(change);
    else {
      turns.adjust(change);
      show();
    }
  }

  function swap() {
    const { a, b } = turns.wanted();
    set({ a: b, b: a });
  }

  /** Draw what is shown, and let link and controls say the same. */
  function show(told = "", linked = true) {
    view.state = turns.shown();
    if (linked) address();
    say(told);
    fillControls();
    const { count, table } = UA.view.configTable(view);
    const was = parts.config.querySelector("details")?.open;
    parts.config.replaceChildren(h("details", { class: "ux-more", open: was ?? false },
      h("summary", {}, `Configuration: ${count === 1 ? "1 key differs" : `${count} keys differ`}`),
      table));
    parts.check.textContent = checked();
    drawU();
  }

  function drawU() {
    const width = Math.floor(parts.u.clientWidth || mount.clientWidth);
    parts.width = width;
    const focused = document.activeElement?.dataset?.place
      ? { ...document.activeElement.dataset } : null;
    parts.totals.replaceChildren(UA.view.totals(view, width >= 860));
    parts.names.replaceChildren(h("span", {}, view.a.name), h("span", {}, view.b.name));
    parts.names.hidden = width < 720;
    parts.u.replaceChildren(...UA.view.u(view, width, toggle));
    for (const key of new Set(view.state.open.map((id) => id.split("/")[0]))) fillPanel(key);
    if (focused) {
      parts.u.querySelector(
        `[data-place="${focused.place}"][data-side="${focused.side}"]`)?.focus();
    }
  }

  /** Open or shut a stage (`down-1`) or a block in it (`down-1/resnets.0`). */
  function toggle(id) {
    const key = id.split("/")[0];
    const isOpen = id === key ? stageOpen(key) : view.state.open.includes(id);
    const keep = (other) => (id === key ? other !== key && !other.startsWith(`${key}/`)
      : other !== id);
    let open = view.state.open.filter(keep);
    if (!isOpen) open.push(id);
    if (id !== key && !open.includes(key)) open.unshift(key);
    turns.adjust({ open: [...new Set(open)] });
    view.state = turns.shown();
    address();
    const button = id === key ? null : parts.u.querySelector(`[data-block="${CSS.escape(id)}"]`);
    if (button) {
      setBlock(button, id, !isOpen);
      return;
    }
    const focus = document.activeElement?.classList.contains("ux-shut");
    fillPanel(key);
    if (focus) parts.u.querySelector(`[data-place="${key}"]`)?.focus();
  }

  /** Only what changes is drawn anew, so that opening stays smooth. */
  function setBlock(button, id, open) {
    button.setAttribute("aria-expanded", String(open));
    const row = button.closest("tr");
    if (open) row.after(UA.view.operations(view, id));
    else row.nextElementSibling.remove();
  }

  function stageOpen(key) {
    return view.state.open.some((id) => id === key || id.startsWith(`${key}/`));
  }

  function fillPanel(key) {
    const box = document.getElementById(UA.view.panelId(key));
    if (!box) return;
    const open = stageOpen(key);
    for (const button of parts.u.querySelectorAll(`[data-place="${key}"]`)) {
      button.setAttribute("aria-expanded", String(open));
    }
    box.hidden = !open;
    box.replaceChildren(...(open ? UA.view.panel(view, key, new Set(view.state.open), toggle) : []));
  }

  function openAll() {
    const places = new Set([...view.a.places.keys(), ...view.b.places.keys()]);
    adjust({ open: [...places] });
  }

  /** Arrows go from stage to stage as the U is drawn; Escape shuts the stage one is in. */
  function keys(event) {
    const stage = event.target.closest(".ux-stage");
    if (event.key === "Escape") {
      const key = stage?.dataset.place
        ?? event.target.closest(".ux-panel")?.id.replace(/^ux-/, "");
      if (key && stageOpen(key)) {
        toggle(key);
        parts.u.querySelector(`[data-place="${key}"]`)?.focus();
      }
      return;
    }
    const step = {
      ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
    }[event.key];
    if (!stage || !step) return;
    const all = [...parts.u.querySelectorAll(".ux-stage")];
    const centre = (element) => {
      const box = element.getBoundingClientRect();
      return [box.x + box.width / 2, box.y + box.height / 2];
    };
    const [x, y] = centre(stage);
    const along = (c) => (c[0] - x) * step[0] + (c[1] - y) * step[1];
    const across = (c) => Math.abs((c[0] - x) * step[1]) + Math.abs((c[1] - y) * step[0]);
    const best = all.map((element) => [element, centre(element)])
      .filter(([, c]) => along(c) > 8)
      .sort(([, c], [, d]) => along(c) + 3 * across(c) - along(d) - 3 * across(d))[0];
    if (best) {
      event.preventDefault();
      best[0].focus();
    }
  }

  /** Whether the closed formula finds what was measured, said of the models in view. */
  function checked() {
    const told = [view.a, view.b].map((m) => {
      if (!m.measured) {
        const bytes = m.bytesKnown ? "" : " It has no formula for the activation bytes of this one.";
        return `${m.name}: computed in this page by closed formula.${bytes} ${latentTold(m)}`;
      }
      const found = UA.formula.describe(m.config, m.latent, m.tokens);
      const sum = UA.model.sum(found.rows);
      const equal = ["params", "macs", "bytes"].every((q) => sum[q] === m.total[q]);
      return `${m.name}: read off the live model; the closed formula in this page, run just now, ${
        equal ? "finds the same" : "differs"}.`;
    });
    if (![view.a, view.b].every((m) => Number.isSafeInteger(m.total.macs))) {
      told.push("Numbers beyond nine thousand million million are rounded.");
    }
    return [...new Set(told)].join(" ");
  }

  /** What the configuration of the reader's own UNet does not say. */
  function latentTold(m) {
    const { r } = view.state;
    const taken = r ? `; for ${r} pixels it is computed at ${m.latent.join(" × ")}, with the factor ${
      UA.model.USUAL_FACTOR} of Stable Diffusion` : "";
    return "How many pixels a cell of its latent stands for is not in its configuration, and so the "
      + `size of its picture is not known${taken}.`;
  }

  /** Tell the reader; `missed` are choices that a button offers to try again. */
  function say(text, missed = null) {
    lost = missed;
    parts.notice.textContent = text;
    parts.notice.hidden = !text;
    parts.again.hidden = !missed;
  }

  // --- link and files ---------------------------------------------------------------------------

  /** The link in the address bar becomes that of what is shown. */
  function address() {
    history.replaceState(null, "", UA.state.write(turns.shown()));
  }

  async function copyLink() {
    const link = view ? location.href.replace(/#.*|$/s, UA.state.write(view.state)) : location.href;
    try {
      await navigator.clipboard.writeText(link);
      say("The link to this view is copied."
        + (link.includes("own=") ? " It carries your configuration." : ""));
    } catch {
      if (view) address();
      say("The link to this view is in the address bar of your browser: copy it from there.");
    }
  }

  function saveSvg() {
    const text = UA.exports.svg(view, location.href.replace(/#.*/s, ""));
    UA.exports.save(UA.exports.fileName(view, "svg"), "image/svg+xml", text);
    say("The view is saved as SVG.");
  }

  function saveCsv() {
    UA.exports.save(UA.exports.fileName(view, "csv"), "text/csv", UA.exports.csv(view));
    say("The data of the view is saved as CSV, one line an operation.");
  }

  // --- the reader's own UNet --------------------------------------------------------------------

  function ownForm() {
    parts.text = h("textarea", {
      rows: "6", spellcheck: "false",
      placeholder: '{"_class_name": "UNet2DConditionModel", "block_out_channels": [320, 640, 1280], …}',
    });
    parts.fault = h("p", { class: "ux-fault", id: "ux-fault", role: "alert" });
    const file = h("input", {
      type: "file", accept: ".json,application/json",
      onclick: (e) => { e.target.value = ""; }, // so that a mended file can be chosen again
      onchange: (e) => e.target.files.length && readFile(e.target.files[0]),
    });
    parts.own = h("details", { class: "ux-more ux-own" },
      h("summary", {}, "Your own UNet: a config.json beside SDXL"),
      h("p", {}, "Paste the ", h("code", {}, "config.json"), " of a diffusers UNet (in a saved "
        + "pipeline it is in the folder ", h("code", {}, "unet"), "), drop the file here, or choose "
        + "it. It is read in this page and sent nowhere."),
      h("label", { class: "ux-field" }, h("span", {}, "config.json"), parts.text),
      h("div", { class: "ux-actions" },
        action("Show it beside SDXL", showText),
        h("label", { class: "ux-file" }, h("span", {}, "or choose a file"), file)),
      parts.fault);
    return parts.own;
  }

  /** A file may be dropped anywhere on the explorer; else the browser would leave the page for it. */
  function takeDrops() {
    const over = (on) => (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      parts.own.classList.toggle("ux-over", on);
    };
    mount.addEventListener("dragover", over(true));
    mount.addEventListener("dragleave", over(false));
    mount.addEventListener("drop", (event) => {
      over(false)(event);
      if (!event.defaultPrevented) return;
      parts.own.open = true;
      try {
        readFile(oneFile(event.dataTransfer));
      } catch (error) {
        refuse(error);
      }
    });
  }

  /** The one file that was dropped. */
  function oneFile({ items, files }) {
    const names = Array.from(files, (file) => short(file.name));
    if (!names.length) fail("No file came; drop the config.json of a UNet, or paste its text.");
    if (names.length > 1) {
      const some = names.length > 3 ? [...names.slice(0, 2), "…"] : names;
      fail(`${names.length} files came at once (${some.join(", ")}); `
        + "drop one, the config.json of a UNet.");
    }
    if (items[0].webkitGetAsEntry()?.isDirectory) {
      fail(`${names[0]} is a folder; open it, and drop the config.json that is in it.`);
    }
    return files[0];
  }

  async function readFile(file) {
    reading += 1;
    const turn = reading;
    const named = short(file.name);
    try {
      if (file.size > MAX_FILE) {
        fail(`${named} has more than a megabyte; choose the config.json of a UNet, not its weights.`);
      }
      const text = await file.text().catch(
        () => fail(`${named} can't be read; choose a file, not a folder, that you may open.`));
      if (turn !== reading) return;
      parts.text.value = text;
      const name = file.name.replace(/\.json$/i, "");
      await showOwn(text, name === "config" ? LABEL : name.slice(0, 40), `${named}: `);
    } catch (error) {
      refuse(error);
    }
  }

  /** The text of the field, which may have been mended since a file came. */
  function showText() {
    reading += 1;
    return showOwn(parts.text.value, LABEL);
  }

  /** @param {string} source  the file that a fault is to name, if any */
  async function showOwn(text, name, source = "") {
    let own;
    try {
      own = UA.model.fromConfig(UA.config.parse(text), name);
    } catch (error) {
      refuse(error, source);
      return;
    }
    fault("");
    await set({ a: "sdxl-base-1.0", b: OWN, own, open: [] });
    mount.scrollIntoView({ block: "start" });
    mount.querySelector("select[data-side=b]").focus({ preventScroll: true });
  }

  /** Say what is wrong with the reader's configuration; what else goes wrong is thrown on. */
  function refuse(error, source = "") {
    if (!(error instanceof ConfigError)) throw error;
    fault(source + error.message);
    parts.fault.scrollIntoView({ block: "nearest" });
  }

  function fault(text) {
    const attributes = { "aria-invalid": "true", "aria-describedby": parts.fault.id };
    for (const [name, value] of Object.entries(attributes)) {
      if (text) parts.text.setAttribute(name, value);
      else parts.text.removeAttribute(name);
    }
    parts.fault.textContent = text;
  }

  // --- start ------------------------------------------------------------------------------------

  async function follow() {
    const kept = turns.wanted().own;
    const known = index.map((m) => m.id);
    const { state, own, faults } = UA.state.read(location.hash, known, Boolean(kept));
    const wanted = { ...state, own: kept };
    if (own !== null) {
      try {
        wanted.own = ownOf(UA.config.check(own), kept);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        faults.push(`The configuration in the link can't be shown: ${error.message}`);
        for (const side of ["a", "b"]) {
          if (wanted[side] === OWN) wanted[side] = UA.state.START[side];
        }
      }
    }
    await set(wanted, faults.join(" "), location.hash.includes("="));
  }

  /** The link's UNet: the one that the reader gave, with its name, where that is the same. */
  function ownOf(config, kept) {
    const same = kept && JSON.stringify(kept.config) === JSON.stringify(config);
    return same ? kept : UA.model.fromConfig(config, LABEL);
  }

  async function start() {
    if (!mount) return;
    try {
      index = await loadAs("index", "The list of models", (found) => [...found]);
    } catch (error) {
      // the table of the page stays
      mount.prepend(h("p", { class: "ux-notice", role: "status" }, error.message));
      mount.dataset.drawn = "";
      return;
    }
    build();
    await follow();
    mount.dataset.drawn = "";
    window.addEventListener("hashchange", () => {
      if (location.hash.includes("=")) follow();
    });
    let waiting = 0;
    new ResizeObserver(() => {
      cancelAnimationFrame(waiting);
      waiting = requestAnimationFrame(() => {
        if (view && Math.floor(parts.u.clientWidth) !== parts.width) drawU();
      });
    }).observe(parts.u);
  }

  start();
})();
