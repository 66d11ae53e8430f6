/* Choices whose data come late, in any order, or not at all. Run by test_scripts.py. */
"use strict";
const assert = require("node:assert/strict");
const { test } = require("node:test");
require("../../book/_static/explorer/turns.js");
const { turns } = globalThis.UNetAtlas;

const START = { a: "one", b: "two", open: [] };

/** Turns whose data come when the test says so. */
function slow() {
  const waiting = [];
  const load = (wanted) => new Promise((done, failed) => waiting.push({ wanted, done, failed }));
  return { waiting, ...turns(START, load) };
}

test("the choice made last wins, whichever answer comes last", async () => {
  const { waiting, ask, shown } = slow();
  const first = ask({ a: "three" });
  const second = ask({ a: "four" });
  waiting[1].done("view of four");
  assert.deepEqual(await second, { loaded: "view of four" });
  waiting[0].done("view of three");
  assert.deepEqual(await first, { overtaken: true });
  assert.equal(shown().a, "four");
});

test("an answer that comes first does not show what was taken back", async () => {
  const { waiting, ask, shown } = slow();
  const first = ask({ a: "three" });
  ask({ a: "four" });
  waiting[0].done("view of three");
  assert.deepEqual(await first, { overtaken: true });
  assert.equal(shown(), null);
});

test("choices of both sides that wait are shown together", async () => {
  const { waiting, ask, shown } = slow();
  ask({ a: "three" });
  const second = ask({ b: "four" });
  assert.deepEqual(waiting[1].wanted, { a: "three", b: "four", open: [] });
  waiting[1].done({});
  await second;
  assert.deepEqual(shown(), { a: "three", b: "four", open: [] });
});

test("what fails changes nothing, and can be asked for again", async () => {
  const { waiting, ask, shown, wanted } = slow();
  const first = ask({});
  waiting[0].done({});
  await first;
  const second = ask({ a: "three" });
  const fault = new Error("no answer");
  waiting[1].failed(fault);
  const { error, lost } = await second;
  assert.equal(error, fault);
  assert.deepEqual(lost, { a: "three" });
  assert.deepEqual(shown(), START);
  assert.deepEqual(wanted(), START);
  const third = ask(lost);
  waiting[2].done({});
  await third;
  assert.equal(shown().a, "three");
});

test("a failure that was overtaken is nobody's concern", async () => {
  const { waiting, ask, shown } = slow();
  const first = ask({ a: "three" });
  const second = ask({ a: "four" });
  waiting[0].failed(new Error("no answer"));
  assert.deepEqual(await first, { overtaken: true });
  waiting[1].done({});
  await second;
  assert.equal(shown().a, "four");
});

test("what opens while models load stays open", async () => {
  const { waiting, ask, adjust, shown } = slow();
  const first = ask({});
  waiting[0].done({});
  await first;
  const second = ask({ a: "three" });
  adjust({ open: ["mid"] });
  assert.deepEqual(shown(), { ...START, open: ["mid"] });
  waiting[1].done({});
  await second;
  assert.deepEqual(shown(), { a: "three", b: "two", open: ["mid"] });
});
