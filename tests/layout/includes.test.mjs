import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { wrongIncludes } from './includes.mjs';

// What is found in a tree of these files.
function found(files) {
  const root = mkdtempSync(join(tmpdir(), 'tertulia-includes-'));
  try {
    for (const [name, text] of Object.entries({ 'server/base/log.h': '', ...files })) {
      mkdirSync(dirname(join(root, name)), { recursive: true });
      writeFileSync(join(root, name), text);
    }
    return wrongIncludes(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

const good = [
  ['up', 'server/net/a.cc', '#include "base/log.h"'],
  ['own folder', 'server/room/a.cc', '#include "room/a.h"'],
  ['of the system', 'server/base/a.cc', '#include <thread>'],
  ['main sees all', 'server/main.cc', '#include "net/a.h"'],
  ['a pure folder may lay out memory', 'server/session/a.h', '#include <sys/uio.h>'],
  ['a test of a pure folder may use threads', 'server/room/a_test.cc', '#include <thread>'],
  ['a comment is no include', 'server/base/a.cc', '// #include "net/a.h"'],
];
for (const [what, name, text] of good) test(`Nothing is wrong with an include: ${what}`, () => assert.deepEqual(found({ [name]: text }), []));

const bad = [
  ['down', 'server/base/a.cc', '#include "net/a.h"', /server\/base\/a\.cc:1: base\/ may not include net\//],
  ['down by one', 'server/protocol/a.h', '\n#include "room/a.h"', /a\.h:2: protocol\/ may not include room\//],
  ['down with blanks', 'server/store/a.h', ' #  include  "node/a.h"', /store\/ may not include node\//],
  ['down, in a test', 'server/room/a_test.cc', '#include "session/a.h"', /room\/ may not include session\//],
  ['down, in angle brackets', 'server/base/a.cc', '#include <net/a.h>', /stands in quotes/],
  ['relative', 'server/base/a.cc', '#include "../net/a.h"', /not of the form/],
  ['without its folder', 'server/base/a.cc', '#include "log.h"', /not of the form/],
  ['a clock in a pure folder', 'server/room/a.cc', '#include <chrono>', /room\/ is pure/],
  ['a socket in a pure folder', 'server/session/a.h', '#include <sys/socket.h>', /session\/ is pure/],
  ['a folder nobody knows', 'server/misc/a.cc', '', /misc is not in the list/],
];
for (const [what, name, text, says] of bad) {
  test(`An include is found: ${what}`, () => {
    const lines = found({ [name]: text });
    assert.equal(lines.length, 1);
    assert.match(lines[0], says);
  });
}

test('A tree without sources is no good tree', () => {
  const root = mkdtempSync(join(tmpdir(), 'tertulia-includes-'));
  mkdirSync(join(root, 'server'));
  assert.equal(wrongIncludes(root).length, 1);
  rmSync(root, { recursive: true });
});
