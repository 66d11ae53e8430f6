/* The explorer's page: controls, the link, the reader's own UNet. Needs no server: from disk the
   data come as scripts, over http as JSON. Without this script the page shows a table instead. */
(() => {
  "use strict";
  const UA = globalThis.UNetAtlas;
  const { h } = UA.view;
  const { OWN, SIZES } = UA.state;
  const { NAMES } = UA.words;

  const mount = document.getElementById("ua-explorer");
  const folder = new URL("data/", document.currentScript.src);
  const LABEL = "your UNet";
  let index = [];
  let state = structuredClone(UA.state.START);
  let view = null;
  let own = null; // the reader's UNet, a model
  const models = new Map();
  const parts = {};

  // --- data -------------------------------------------------------------------------------------

  /** A file of the data folder: JSON over http, a script where the page was opened from disk. */
  async function load(name) {
    if (location.protocol !== "file:") {
      const answer = await fetch(new URL(`${name}.json`, folder));
      if (!answer.ok) throw new Error(`${name}.json: ${answer.status}`);
      return answer.json();
    }
    return new Promise((done, failed) => {
      const script = h("script", { src: new URL(`${name}.js`, folder).href });
      script.addEventListener("load", () => done(UA.data[name]));
      script.addEventListener("error", () => failed(new Error(`${name}.js`)));
      document.head.append(script);
    });
  }

  async function model(id) {
    if (id === OWN) return own;
    if (!models.has(id)) models.set(id, UA.model.fromDocument(await load(id)));
    return models.get(id);
  }

  // --- the page ---------------------------------------------------------------------------------

  function chooser(side, label) {
    return h("label", { class: "ux-field" }, h("span", {}, label),
      h("select", { "data-side": side, onchange: (e) => set({ [side]: e.target.value }) }));
  }

  function fillChoosers() {
    for (const select of mount.querySelectorAll("select[data-side]")) {
      const families = [["Stable Diffusion", "Stable Diffusion"], ["mini", "The mini family"]];
      const groups = families.map(([family, label]) => h("optgroup", { label },
        index.filter((m) => m.family === family).map((m) => h("option", { value: m.id }, m.name))));
      if (own) groups.push(h("optgroup", { label: "Yours" }, h("option", { value: OWN }, own.name)));
      select.replaceChildren(...groups);
      select.value = state[select.dataset.side];
    }
  }

  function build() {
    const sizes = [h("option", { value: "" }, "each model's own"),
      ...SIZES.map((n) => h("option", { value: String(n) }, `${n} × ${n} pixels`))];
    parts.size = h("select", { onchange: (e) => set({ r: Number(e.target.value) || null }) }, sizes);
    parts.quantity = h("fieldset", { class: "ux-quantity" }, h("legend", {}, "Show"),
      h("div", {}, UA.state.QUANTITIES.map((q) => h("label", {},
        h("input", { type: "radio", name: "ux-q", value: q, onchange: () => set({ q }) }),
        h("span", {}, NAMES[q])))));
    parts.notice = h("p", { class: "ux-notice", role: "status" });
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
          onclick: () => set({ a: state.b, b: state.a }),
        }, "⇄"),
        chooser("b", "Right"),
        h("label", { class: "ux-field" }, h("span", {}, "Picture"), parts.size), parts.quantity),
      h("div", { class: "ux-actions" },
        action("Copy link", copyLink), action("Save SVG", saveSvg), action("Save CSV", saveCsv),
        action("Open all stages", openAll), action("Close all", () => set({ open: [] })),
        action("Your own UNet …", () => {
          parts.own.open = true;
          parts.own.scrollIntoView({ block: "start" });
          parts.text.focus();
        })),
      parts.notice, parts.totals, parts.names, parts.u, legend(), parts.check, parts.config,
      ownForm(), parts.fallback);
    mount.classList.add("ux");
    mount.addEventListener("keydown", keys);
  }

  function action(label, onclick) {
    return h("button", { type: "button", class: "ux-action", onclick }, label);
  }

  function legend() {
    return h("p", { class: "ux-legend" },
      "○ resnet, ■ transformer block, ◆ bare attention, ⇢ skip connection. ",
      "≠ and a doubled edge mark what differs. Choose a stage to open it; the bars compare the "
      + "chosen quantity over both models.");
  }

  // --- state and drawing ------------------------------------------------------------------------

  async function set(change, quiet = false) {
    state = { ...state, ...change };
    try {
      const [a, b] = await Promise.all([model(state.a), model(state.b)]);
      view = {
        a: UA.model.sized(a, state.r), b: UA.model.sized(b, state.r), state,
      };
    } catch (error) {
      if (error instanceof UA.config.ConfigError) {
        say(error.message);
        return;
      }
      say("The data of this model can't be read; build the book again (make book).");
      return;
    }
    const here = UA.state.write(state);
    if (!quiet) history.replaceState(null, "", here);
    if (!quiet) say("");
    render();
  }

  function render() {
    fillChoosers();
    parts.size.value = state.r ?? "";
    for (const radio of parts.quantity.querySelectorAll("input")) {
      radio.checked = radio.value === state.q;
    }
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
    for (const key of new Set(state.open.map((id) => id.split("/")[0]))) fillPanel(key);
    if (focused) {
      parts.u.querySelector(
        `[data-place="${focused.place}"][data-side="${focused.side}"]`)?.focus();
    }
  }

  /** Open or shut a stage (`down-1`) or a block in it (`down-1/resnets.0`). */
  function toggle(id) {
    const key = id.split("/")[0];
    const isOpen = id === key ? stageOpen(key) : state.open.includes(id);
    const keep = (other) => (id === key ? other !== key && !other.startsWith(`${key}/`)
      : other !== id);
    let open = state.open.filter(keep);
    if (!isOpen) open.push(id);
    if (id !== key && !open.includes(key)) open.unshift(key);
    open = [...new Set(open)];
    state = { ...state, open };
    view.state = state;
    history.replaceState(null, "", UA.state.write(state));
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
    return state.open.some((id) => id === key || id.startsWith(`${key}/`));
  }

  function fillPanel(key) {
    const box = document.getElementById(UA.view.panelId(key));
    if (!box) return;
    const open = stageOpen(key);
    for (const button of parts.u.querySelectorAll(`[data-place="${key}"]`)) {
      button.setAttribute("aria-expanded", String(open));
    }
    box.hidden = !open;
    box.replaceChildren(...(open ? UA.view.panel(view, key, new Set(state.open), toggle) : []));
  }

  function openAll() {
    const places = new Set([...view.a.places.keys(), ...view.b.places.keys()]);
    set({ open: [...places] });
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
        return `${m.name}: computed in this page by closed formula.${bytes}`;
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

  function say(text) {
    parts.notice.textContent = text;
    parts.notice.hidden = !text;
  }

  // --- link and files ---------------------------------------------------------------------------

  async function copyLink() {
    const link = location.href;
    try {
      await navigator.clipboard.writeText(link);
      say("The link to this view is copied."
        + (link.includes("own=") ? " It carries your configuration." : ""));
    } catch {
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
      rows: "6", spellcheck: "false", "aria-describedby": "ux-fault",
      placeholder: '{"_class_name": "UNet2DConditionModel", "block_out_channels": [320, 640, 1280], …}',
    });
    parts.fault = h("p", { class: "ux-fault", id: "ux-fault", role: "alert" });
    const file = h("input", {
      type: "file", accept: ".json,application/json",
      onchange: (e) => readFile(e.target.files[0]),
    });
    parts.own = h("details", { class: "ux-more ux-own" },
      h("summary", {}, "Your own UNet: a config.json beside SDXL"),
      h("p", {}, "Paste the ", h("code", {}, "config.json"), " of a diffusers UNet (in a saved "
        + "pipeline it is in the folder ", h("code", {}, "unet"), "), drop the file here, or choose "
        + "it. It is read in this page and sent nowhere."),
      h("label", { class: "ux-field" }, h("span", {}, "config.json"), parts.text),
      h("div", { class: "ux-actions" },
        action("Show it beside SDXL", () => showOwn(parts.text.value, LABEL)),
        h("label", { class: "ux-file" }, h("span", {}, "or choose a file"), file)),
      parts.fault);
    const over = (on) => (event) => {
      event.preventDefault();
      parts.own.classList.toggle("ux-over", on);
    };
    parts.own.addEventListener("dragover", over(true));
    parts.own.addEventListener("dragleave", over(false));
    parts.own.addEventListener("drop", (event) => {
      over(false)(event);
      parts.own.open = true;
      readFile(event.dataTransfer.files[0]);
    });
    return parts.own;
  }

  async function readFile(file) {
    if (!file) return;
    if (file.size > 1_000_000) {
      fault("This file has more than a megabyte; choose the config.json of a UNet, not its weights.");
      return;
    }
    parts.text.value = await file.text();
    const name = file.name.replace(/\.json$/i, "");
    showOwn(parts.text.value, name === "config" ? LABEL : name.slice(0, 40));
  }

  async function showOwn(text, name) {
    try {
      own = UA.model.fromConfig(UA.config.parse(text), name);
    } catch (error) {
      if (!(error instanceof UA.config.ConfigError)) throw error;
      fault(error.message);
      return;
    }
    fault("");
    await set({ a: "sdxl-base-1.0", b: OWN, own: UA.config.compact(own.config), open: [] });
    mount.scrollIntoView({ block: "start" });
    mount.querySelector("select[data-side=b]").focus({ preventScroll: true });
  }

  function fault(text) {
    parts.fault.textContent = text;
    parts.text.toggleAttribute("aria-invalid", Boolean(text));
  }

  // --- start ------------------------------------------------------------------------------------

  async function follow() {
    const { state: wanted, faults } = UA.state.read(location.hash, index.map((m) => m.id));
    if (wanted.own) {
      try {
        own = UA.model.fromConfig(UA.config.check(wanted.own), LABEL);
      } catch (error) {
        if (!(error instanceof UA.config.ConfigError)) throw error;
        faults.push(`The configuration in the link can't be shown: ${error.message}`);
        for (const side of ["a", "b"]) {
          if (wanted[side] === OWN) wanted[side] = UA.state.START[side];
        }
        wanted.own = null;
      }
    }
    await set(wanted, true);
    say(faults.join(" "));
  }

  async function start() {
    if (!mount) return;
    try {
      index = await load("index");
    } catch {
      mount.dataset.drawn = ""; // the table of the page stays
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
