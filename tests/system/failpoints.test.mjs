// The server dies at a named place while people write, and is started again. base/failpoint.h tells how it dies; the
// words it says then prove that it died there.
import assert from 'node:assert/strict';
import test from 'node:test';
import { judge } from './lib/judge.mjs';
import { allQuiet, ClassicPerson, LibraryPerson, Talk } from './lib/people.mjs';
import { random } from './lib/random.mjs';
import { long, testBinary, withServer } from './lib/server.mjs';
import { until } from './lib/until.mjs';

const roundsCount = long ? 5 : 1;
const rooms = ['north', 'south'];

/**
 * pass: at which of its passes it dies; the coming back of everybody takes the first ones, and dying there is as good.
 * @typedef {{name: string, pass: [number, number], readers?: number, stalled?: boolean, textBytes?: number,
 *   everyMs?: [number, number], args?: string[]}} Place
 * @type {Place[]}
 */
const allPlaces = [
  { name: 'request_read', pass: [1, 200] },
  { name: 'submitted', pass: [1, 150] },
  { name: 'first_row_inserted', pass: [1, 100] },
  { name: 'before_commit', pass: [1, 100] },
  { name: 'in_wal_sync', pass: [5, 100] },
  { name: 'after_commit_before_answer', pass: [1, 100] },
  { name: 'answered_before_bus', pass: [1, 100] },
  // A sweep has a middle when there are more members than one slice takes.
  { name: 'mid_sweep', pass: [1, 3], readers: 120, args: ['--shards', '1'] },
  // A frame is cut when somebody does not read.
  { name: 'half_written_frame', pass: [1, 1], stalled: true, textBytes: 30_000, everyMs: [20, 60], args: ['--rate-limits', 'off'] },
  // Texts so long that the write-ahead log is soon worth a checkpoint; the first two passes are at the opening.
  { name: 'in_checkpoint', pass: [3, 3], textBytes: 50_000, everyMs: [20, 60], args: ['--rate-limits', 'off'] },
];

async function come(server, place) {
  const people = [];
  for (let i = 0; i < 6; ++i) people.push(new LibraryPerson({ url: server.url, room: rooms[i % 2], name: `Library ${i}` }));
  for (let i = 0; i < 2; ++i)
    people.push(new ClassicPerson({ address: server.address, room: rooms[i], name: `Classic ${i}`, reconnectAfterMs: 300 }));
  const readers = Array.from({ length: place.readers ?? 0 },
    (_, i) => new LibraryPerson({ url: server.url, room: rooms[0], name: `Reader ${i}` }));
  await Promise.all([...people, ...readers].map((person) => person.come()));
  // Everybody has seen a message: who holds a position proves a past, and comes back at once.
  for (const person of people) person.say(`${person.name} is here`);
  await allQuiet([...people, ...readers]);
  return { people, readers };
}

/** After the restart everybody is back and goes on talking; then all of it is judged. */
async function goOn(server, people, readers, marks, talk) {
  const all = [...people, ...readers];
  await until('everybody is back', () => all.every((person, i) => person.isBack(marks[i])), 40_000,
    () => all.filter((person, i) => !person.isBack(marks[i])).map((person) => person.tell()));
  const at = people.map((person) => person.at);
  await until('the talk goes on', () => people.every((person, i) => person.at > at[i]));
  talk.stop();
  await allQuiet(all);
  await server.kill();
  await judge(server, all);
}

async function dieAt(place, round) {
  const pass = Math.floor(random(`${place.name} ${round}`).between(place.pass[0], place.pass[1] + 1));
  await withServer({ binary: testBinary, args: place.args }, async (server) => {
    const { people, readers } = await come(server, place);
    const all = [...people, ...readers];
    // Whoever writes all its unacked again before each of them would only be waited for, with long texts.
    const talkers = place.textBytes ? people.filter(({ dialect }) => dialect === 'v2') : people;
    const talk = new Talk(talkers, { everyMs: place.everyMs ?? [30, 150], textBytes: place.textBytes });
    try {
      const before = all.map((person) => person.mark());
      await server.kill();
      await server.start({ failpoint: `${place.name}:${pass}=kill` });
      const marks = all.map((person) => person.mark());
      const stalled = place.stalled ? people.at(-1) : undefined;
      if (stalled) {
        // Others' frames may be cut before, and that will do.
        await until('who will not read is back', () => stalled.isBack(before.at(people.length - 1)) || !server.running);
        stalled.client.block();
      }
      const { signal } = await server.dies(30_000);
      stalled?.client.release();
      assert.equal(signal, 'SIGKILL');
      assert.ok(server.log.includes(`failpoint: killed at ${place.name}, pass ${pass}\n`), 'it died elsewhere');
      await server.start();
      await goOn(server, people, readers, marks, talk);
    } finally {
      talk.stop();
      await Promise.all(all.map((person) => person.go()));
    }
  });
}

// Nobody is served while it opens, so it is killed before, with a write-ahead log to open.
async function dieWhileOpening(failpoint) {
  await withServer({ binary: testBinary }, async (server) => {
    const { people } = await come(server, {});
    const talk = new Talk(people, { everyMs: [30, 150] });
    try {
      await until('there is something to open', () => people.every((person) => person.at > 30));
      const marks = people.map((person) => person.mark());
      await server.kill();
      await server.start({ failpoint, waitReady: false });
      assert.equal((await server.dies()).signal, 'SIGKILL');
      assert.ok(server.log.includes(`failpoint: killed at ${failpoint.replace(/:.*/, '')}`), 'it died elsewhere');
      await server.start();
      await goOn(server, people, [], marks, talk);
    } finally {
      talk.stop();
      await Promise.all(people.map((person) => person.go()));
    }
  });
}

test('whoever dies anywhere loses, repeats and reorders nothing', { concurrency: 3 }, async (t) => {
  const tests = [];
  const places = allPlaces.filter(({ name }) => [undefined, name].includes(process.env.TERTULIA_TEST_PLACE));
  for (let round = 1; round <= roundsCount; ++round) {
    for (const place of places) tests.push(t.test(`died at ${place.name}, round ${round}`, () => dieAt(place, round)));
    tests.push(t.test(`died while opening, round ${round}`, () => dieWhileOpening('while_opening:1=kill')));
    tests.push(t.test(`died in the checkpoint at its start, round ${round}`, () => dieWhileOpening('in_checkpoint:1=kill')));
  }
  await Promise.all(tests);
});
