/* Numbers in words, links, and the reader's own UNet. Run by test_scripts.py. */
"use strict";
const assert = require("node:assert/strict");
const { test } = require("node:test");
const folder = "../../book/_static/explorer";
for (const name of ["config", "formula", "words", "model", "state"]) require(`${folder}/${name}.js`);
const { config, model, state, words } = globalThis.UNetAtlas;

const SMALL = {
  sample_size: 8, block_out_channels: [32, 64], norm_num_groups: 8, cross_attention_dim: 24,
  down_block_types: ["CrossAttnDownBlock2D", "DownBlock2D"], attention_head_dim: 4,
  up_block_types: ["UpBlock2D", "CrossAttnUpBlock2D"],
};
const own = model.fromConfig(config.check(SMALL), "mine");
const plain = (text) => text.replaceAll("\u00a0", " ");

test("a ratio is written like the numbers beside it", () => {
  const cases = [
    [2, 49_380, "× 24,690"], [1, 1_000, "× 1,000"], [10, 29.9, "× 2.99"], [10, 123.4, "× 12.3"],
    [1000, 45, "× 0.045"], [1e6, 3, "× < 0.001"], [1, 0, "× 0"], [0, 3, "–"], [3, null, "–"],
  ];
  for (const [first, second, text] of cases) assert.equal(plain(words.ratio(first, second)), text);
});

test("the picture of a UNet whose VAE is not known has no size", () => {
  assert.equal(model.sized(own, null).picture, null);
  assert.deepEqual(model.sized(own, null).latent, [8, 8]);
});

test("a size that is asked for is taken at the usual factor", () => {
  const sized = model.sized(own, 512);
  assert.deepEqual(sized.latent, [64, 64]);
  assert.equal(sized.picture, null);
});

test("a link to the reader's own UNet carries its configuration", () => {
  const link = state.write({ ...state.START, b: "own", own });
  const found = state.read(link, []);
  assert.deepEqual(found.own, config.compact(own.config));
  assert.equal(found.state.b, "own");
  assert.ok(!state.write({ ...state.START, own }).includes("own="));
});

test("a link without a configuration means the one that the page keeps", () => {
  const kept = state.read("#a=sd-1.5&b=own", ["sd-1.5"], true);
  assert.deepEqual([kept.state.b, kept.faults], ["own", []]);
  const none = state.read("#a=sd-1.5&b=own", ["sd-1.5"], false);
  assert.match(none.faults[0], /does not carry it/);
  const damaged = state.read("#a=sd-1.5&b=own&own=%%%", ["sd-1.5"], true);
  assert.match(damaged.faults[0], /is damaged/);
  assert.equal(damaged.state.b, state.START.b);
});

test("a size of the link is a number of pixels", () => {
  assert.match(state.read("#a=sd-1.5&r=own", ["sd-1.5"]).faults[0], /asks for “own” pixels/);
});

test("what is no document is refused", () => {
  for (const odd of [null, [], 7, "x", {}, { schema: 2 }, { schema: 1 }]) {
    assert.throws(() => model.fromDocument(odd), TypeError);
  }
});
