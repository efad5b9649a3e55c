import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { deadLinks, settingsIn, undocumented } from './documents.mjs';

const repository = join(dirname(fileURLToPath(import.meta.url)), '../..');

// What `find` finds in a tree of these files.
function found(find, files) {
  const root = mkdtempSync(join(tmpdir(), 'tertulia-documents-'));
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, name)), { recursive: true });
      writeFileSync(join(root, name), text);
    }
    return find(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

test('Every setting and metric of the server stands in docs/operating.md', () => assert.deepEqual(undocumented(repository), []));
test('Every relative link in the documents leads somewhere', () => assert.deepEqual(deadLinks(repository), []));

test('Every field of Options is recognised as a setting', () => {
  const options = readFileSync(join(repository, 'server/node/options.h'), 'utf8');
  const fields = [...options.matchAll(/^ +(?:std::string|std::vector<std::string>|u?int\d+_t|bool|double) (\w+)(?: = .*)?;/gm)];
  const names = fields.map(([, name]) => name.replace(/_ms$/, '').replaceAll('_', '-'));
  assert.ok(names.length > 30, `${names.length} fields`);
  assert.deepEqual(settingsIn(readFileSync(join(repository, 'server/node/settings.cc'), 'utf8')).sort(), names.sort());
});

const server = {
  'server/node/settings.cc': 'duration("drain-window", "At the end", …), size<double>("session-bytes-burst",\n',
  'server/base/metrics.cc': 'gauge("tertulia_rooms", "…");\n counter(\n"tertulia_skips_total", …',
};
const named = '`drain-window` `session-bytes-burst` `tertulia_rooms` `tertulia_skips_total`';
test('Nothing is missing where all is named', () => assert.deepEqual(found(undocumented, { ...server, 'docs/operating.md': named }), []));
for (const name of named.match(/[a-z_-]{3,}/g)) {
  test(`What is not named is found: ${name}`, () => {
    // A longer name does not stand for it.
    const lines = found(undocumented, { ...server, 'docs/operating.md': named.replace(`\`${name}\``, `\`${name}s\``) });
    assert.equal(lines.length, 1);
    assert.match(lines[0], new RegExp(`${name} is missing`));
  });
}
test('A source without settings and metrics is no good source', () => {
  assert.equal(found(undocumented, { ...server, 'server/node/settings.cc': '', 'server/base/metrics.cc': '', 'docs/operating.md': '' }).length, 2);
});

const links = [
  ['a file', '[a](docs/b.md)', 0],
  ['a folder', '[a](docs/)', 0],
  ['a heading', '[a](docs/b.md#the-second-one-2)', 0],
  ['elsewhere', '[a](https://example.org/nothing)', 0],
  ['in code', '`[a](nothing.md)`\n\n    [a](nothing.md)\n\n```\n[a](nothing.md)\n```\n', 0],
  ['no file', '[a](docs/nothing.md)', 1],
  ['no heading', '[a](docs/b.md#third)', 1],
  ['no heading of its own', '[a](#third)', 1],
];
for (const [what, text, count] of links) {
  test(`A link is ${count === 0 ? 'good' : 'dead'}: ${what}`, () => {
    assert.equal(found(deadLinks, { 'a.md': text, 'docs/b.md': '# First\n\n## The *second* one: 2\n' }).length, count);
  });
}
