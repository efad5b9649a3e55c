// A cluster of three nodes behind a balancer, and everything that can happen to it: nodes die and freeze, lose bus or
// store in one direction or both, NATS servers die and freeze, the store is restarted and fails over. Through all of it
// people talk; in the end the checker reads what each of them said, was told and saw, and the store itself.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as pass } from 'node:timers/promises';
import { Cluster } from '../cluster/cluster.mjs';
import { Contenders } from './lib/contenders.mjs';
import { Faults } from './lib/faults.mjs';
import { judge } from './lib/judge.mjs';
import { allQuiet, ClassicPerson, LibraryPerson, Talk } from './lib/people.mjs';
import { random } from './lib/random.mjs';
import { long, releasedBinary, setup } from './lib/server.mjs';
import { until } from './lib/until.mjs';

const isMongo = setup === 'cluster-mongodb';
const chaosMs = Number(process.env.TERTULIA_TEST_CHAOS_MS ?? (long && !isMongo ? 600_000 : 90_000));
/** After so long everything is mended, and everybody must arrive at the head; then it goes on. */
const roundMs = 28_000;
/** Of everything at once, people are at the head so soon after the last mending. */
const headWithinMs = 10_000;
// FerretDB looks through a whole collection for most questions: fewer people who say less, and leases that outlast it.
const [libraryCount, classicCount] = isMongo ? [20, 4] : [60, 12];
const roomsCount = isMongo ? 4 : 6;
const everyMs = /** @type {[number, number]} */ (isMongo ? [4_000, 12_000] : [500, 3_500]);
const leaseMs = isMongo ? 15_000 : 6_000;

const began = performance.now();
const tell = (/** @type {string} */ what) => console.log(`# ${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s  ${what}`);

test(`${Math.round(chaosMs / 1000)} s of chaos under ${libraryCount} clients of the library and ${classicCount} classic ones lose, repeat and reorder nothing`, async () => {
  const chance = random('chaos');
  const cluster = await Cluster.start({
    store: isMongo ? 'mongodb' : 'postgresql', standby: !isMongo, cuttable: true, binary: releasedBinary,
    args: ['--rate-limits', 'off', '--lease', `${leaseMs}ms`],  // they all come from one address
  });
  tell(`the cluster serves: ${cluster.url}`);
  const faults = new Faults(cluster, { chance, tell, leaseMs });
  const people = [];
  for (let i = 0; i < libraryCount; ++i)
    people.push(new LibraryPerson({ url: cluster.url, room: `room ${i % roomsCount}`, name: `Library ${i}` }));
  for (let i = 0; i < classicCount; ++i) {
    people.push(new ClassicPerson({
      address: cluster.address, room: `room ${i % roomsCount}`, name: `Classic ${i}`, reconnectAfterMs: long ? 5_000 : 500,
    }));
  }
  /** @type {Talk|undefined} */ let talk;
  const contenders = new Contenders(cluster.address, { room: 'room 0', namesCount: isMongo ? 1 : 3, usersEach: 2 });
  let isOver = false;
  try {
    await Promise.all(people.map((person) => person.come()));
    for (const person of people) person.say(`${person.name} is here`);
    await allQuiet(people);
    tell('everybody is here');
    talk = new Talk(people, { everyMs });
    contenders.begin();

    // The deck is dealt out before it is shuffled anew: each kind happens.
    let deck = faults.kinds.sort(() => chance.next() - 0.5);
    const dealt = () => {
      if (deck.length === 0) deck = faults.kinds.sort(() => chance.next() - 0.5);
      return /** @type {NonNullable<ReturnType<typeof deck.pop>>} */ (deck.pop());
    };
    const end = performance.now() + chaosMs;
    let slowestMs = 0;
    const missing = () => (chaosMs < 90_000 ? [] : faults.kinds.map(([what]) => what).filter((what) => !faults.done.get(what)));
    // On a slow machine, or with long leases, the deck may not have been dealt out by then: each kind is to happen once.
    const latest = end + 90_000;
    for (let round = 1; performance.now() < end || (missing().length > 0 && performance.now() < latest); ++round) {
      const roundEnd = performance.now() < end ? Math.min(end, performance.now() + roundMs) : performance.now() + 1;
      // Two lines of misfortune at a time.
      const line = async () => {
        while (performance.now() < roundEnd) {
          await dealt()[1]();
          await pass(chance.between(100, 1_000));
        }
      };
      const before = [...faults.done.values()].reduce((a, b) => a + b, 0);
      await Promise.all([line(), line()]);
      if (long && cluster.standby && round % 3 === 0) await faults.failOver();
      const mended = performance.now();
      tell(`round ${round}: ${[...faults.done.values()].reduce((a, b) => a + b, 0) - before} faults, all mended`);
      // Everybody says something more: it is taken, and everybody sees all of it. Others go on talking meanwhile, so it
      // is the heads of that moment that everybody must reach.
      const last = people.map((person) => person.say(`${person.name} after round ${round}`));
      const open = () => people.filter((person, i) => person.pendingUuids.includes(last[i]));
      await until(`everything is taken after round ${round}`, () => open().length === 0, headWithinMs, () => open().map((person) => person.tell()));
      const heads = headsAre(people);
      await until(`everybody is at the head after round ${round}`, () => people.every((person) => heads(person)),
        headWithinMs - (performance.now() - mended), () => people.filter((person) => !heads(person)).map((person) => person.tell()));
      slowestMs = Math.max(slowestMs, performance.now() - mended);
      tell(`everybody is at the head after ${Math.round(performance.now() - mended)} ms`);
    }
    isOver = true;
    talk.stop();
    await contenders.end();
    await allQuiet(people, 30_000);

    for (const [what, count] of [...faults.done].sort()) tell(`${String(count).padStart(4)} × ${what}`);
    assert.deepEqual(missing(), [], 'never happened');
    assert.ok(contenders.grants > 0 && contenders.refusals > 0, 'nobody contended for a name');
    tell(`${contenders.grants} grants and ${contenders.refusals} refusals of ${contenders.names.length} names; the slowest return took ${Math.round(slowestMs)} ms`);

    await Promise.all(people.map((person) => person.go()));
    await Promise.all(cluster.nodes.map((node) => node.kill()));
    const store = await judge({ dataDir: cluster.folder, readStore: () => cluster.readStore() }, [...people, ...contenders.people],
      { caughtUp: (person) => people.includes(person) });
    assert.equal(store.size, roomsCount);
    tell(`${[...store.values()].reduce((sum, rows) => sum + rows.length, 0)} messages stored`);
  } catch (error) {
    throw isOver ? error : cluster.explain(error);
  } finally {
    talk?.stop();
    await contenders.end();
    await Promise.all(people.map((person) => person.go()));
    await cluster.stop();
  }
  assert.deepEqual(people.flatMap((person) => person.trouble), []);
});

/** Has this person seen what stood there when this was called? All of a room's people know of it together. */
function headsAre(people) {
  const heads = new Map();
  for (const { roomName, at } of people) heads.set(roomName, Math.max(heads.get(roomName) ?? 0, at));
  return (person) => person.at >= heads.get(person.roomName);
}
