/* The view as a link, and back: #a=sd-1.5&b=sdxl-base-1.0&r=1024&q=macs&open=mid,down-1/resnets.0 */
(() => {
  "use strict";
  const UA = (globalThis.UNetAtlas ??= { data: {} });

  const OWN = "own"; // the id of the reader's UNet
  const START = { a: "sd-1.5", b: "sdxl-base-1.0", r: null, q: "params", open: [] };
  const SIZES = [256, 512, 640, 768, 896, 1024, 1280, 1536, 2048];
  const QUANTITIES = ["params", "macs", "bytes", "tokens"];
  const PLACE = /^(stem|head|mid|(down|up)-\d{1,2})(\/[\w.]{1,60})?$/;
  const KEYS = ["a", "b", "r", "q", "open", "own"];
  const MOST_OPEN = 60;
  const MOST_OWN = 20_000;

  /**
   * The state that a link names, and one sentence for each part of it that can't be shown.
   * @param {string} hash      location.hash
   * @param {string[]} known   ids of the models
   * @param {boolean} kept     whether the page has a UNet of the reader's own already
   * @returns {{state: object, own: object|null, faults: string[]}} `own`: the link's configuration
   */
  function read(hash, known, kept = false) {
    const state = structuredClone(START);
    const faults = [];
    if (!hash.includes("=")) return { state, own: null, faults };
    const given = new URLSearchParams(hash.replace(/^#/, ""));
    const told = (value) => `“${value.length > 40 ? `${value.slice(0, 39)}…` : value}”`;
    for (const key of new Set(given.keys())) {
      if (!KEYS.includes(key)) faults.push(`The link's part ${told(key)} means nothing here.`);
    }
    const own = readOwn(given.get("own"), faults);
    const hasOwn = own !== null || (kept && !given.get("own"));
    for (const key of ["a", "b"]) {
      const id = given.get(key);
      if (id === null) continue;
      if (known.includes(id) || (id === OWN && hasOwn)) state[key] = id;
      else if (id === OWN) {
        faults.push("The link names a UNet of somebody's own but does not carry it; "
          + `paste its config.json below. Until then you see ${START[key]}.`);
      } else {
        faults.push(`The link names ${told(id)}, which is no model here; you see ${START[key]}.`);
      }
    }
    const size = given.get("r");
    if (SIZES.map(String).includes(size)) state.r = Number(size);
    else if (size !== null) {
      faults.push(`The link asks for ${told(size)} pixels; each model is shown at its own size.`);
    }
    const quantity = given.get("q");
    if (QUANTITIES.includes(quantity)) state.q = quantity;
    else if (quantity !== null) {
      faults.push(`The link asks for ${told(quantity)}; you see parameters.`);
    }
    const open = (given.get("open") ?? "").split(",").filter(Boolean);
    const fine = open.filter((place) => PLACE.test(place)).slice(0, MOST_OPEN);
    if (fine.length < open.length) {
      faults.push("The link opens a part that no UNet has; it stays shut.");
    }
    state.open = [...new Set(fine)];
    return { state, own, faults };
  }

  function readOwn(packed, faults) {
    if (!packed) return null;
    try {
      if (packed.length > MOST_OWN) throw new Error("too long");
      const bytes = Uint8Array.from(atob(packed.replaceAll("-", "+").replaceAll("_", "/")),
        (c) => c.charCodeAt(0));
      return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    } catch {
      faults.push("The configuration in the link is damaged; paste the config.json below instead.");
      return null;
    }
  }

  /** The link's end for a state, whose `own` is the model made from the reader's configuration; parts
      that are as at the start are left out, a and b never. */
  function write(state) {
    const parts = [`a=${state.a}`, `b=${state.b}`];
    if (state.r !== START.r) parts.push(`r=${state.r}`);
    if (state.q !== START.q) parts.push(`q=${state.q}`);
    if (state.open.length) parts.push(`open=${state.open.join(",")}`);
    if ([state.a, state.b].includes(OWN)) {
      parts.push(`own=${pack(UA.config.compact(state.own.config))}`);
    }
    return `#${parts.join("&")}`;
  }

  function pack(config) {
    const bytes = new TextEncoder().encode(JSON.stringify(config));
    const text = btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(""));
    return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  }

  UA.state = { read, write, START, SIZES, QUANTITIES, OWN };
})();
