/* Reads [{config, latent, tokens}, …] as JSON from standard input and writes what the page's own
   formula says of each: {rows, stages, blocks, bytesKnown} or {error}. Run by test_formula_js.py. */
"use strict";
const { readFileSync } = require("node:fs");
const { resolve } = require("node:path");

const folder = resolve(__dirname, "../../book/_static/explorer");
require(`${folder}/config.js`);
require(`${folder}/formula.js`);
const { config: configs, formula } = globalThis.UNetAtlas;

function answer({ config, text, latent, tokens, rows, from }) {
  try {
    if (rows) return { rows: formula.scaled(rows, from, latent) };
    const checked = text === undefined ? configs.check(config) : configs.parse(text);
    return formula.describe(checked, latent, tokens);
  } catch (error) {
    if (error instanceof configs.ConfigError) return { error: error.message };
    throw error;
  }
}

const asked = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(asked.tables ? configs.TABLES : asked.map(answer)));
