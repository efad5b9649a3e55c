// A store in trouble: slow, failing once, failing for long, on a full disk. Messages wait; nothing is lost or reordered,
// nothing is acked before it is durable, what is durable is served on, and the server recovers by itself.
import assert from 'node:assert/strict';
import test from 'node:test';
import { judge } from './lib/judge.mjs';
import { allQuiet, ClassicPerson, LibraryPerson, Talk } from './lib/people.mjs';
import { long, testBinary, withServer } from './lib/server.mjs';
import { SmallDisk } from './lib/small_disk.mjs';
import { until } from './lib/until.mjs';

const rooms = ['north', 'south'];
const slowMs = 300;
const failingMs = long ? 20_000 : 4_000;

async function come(server) {
  const people = [];
  for (let i = 0; i < 6; ++i) people.push(new LibraryPerson({ url: server.url, room: rooms[i % 2], name: `Library ${i}` }));
  for (let i = 0; i < 2; ++i)
    people.push(new ClassicPerson({ address: server.address, room: rooms[i], name: `Classic ${i}`, reconnectAfterMs: 300 }));
  await Promise.all(people.map((person) => person.come()));
  for (const person of people) person.say(`${person.name} is here`);
  await allQuiet(people);
  return people;
}

/** Runs `body` with people who talk; then all of it is judged. */
async function amongPeople(server, body, pace = { everyMs: [30, 150] }) {
  const people = await come(server);
  const talk = new Talk(people, pace);
  try {
    await body(people, talk);
    talk.stop();
    await allQuiet(people, 60_000);
    await server.kill();
    await judge(server, people);
  } finally {
    talk.stop();
    await Promise.all(people.map((person) => person.go()));
  }
}

/** When each message was said, and when somebody first heard that it is in the log. */
function watchAcks(people) {
  const saidAt = new Map(), heardAfterMs = new Map();
  for (const { story } of people) {
    const { events } = story;
    const push = events.push.bind(events);
    events.push = (...news) => {
      for (const event of news) {
        if (event.kind === 'said') saidAt.set(event, performance.now());
        const uuid = event.kind === 'acked' ? event.uuid : event.kind === 'saw' ? event.message.uuid : undefined;
        if (uuid !== undefined && !heardAfterMs.has(uuid)) heardAfterMs.set(uuid, performance.now());
      }
      return push(...news);
    };
  }
  return () => [...saidAt].flatMap(([{ uuid }, at]) => (heardAfterMs.has(uuid) ? [heardAfterMs.get(uuid) - at] : []));
}

async function talksOn(people, byCount = 3) {
  const at = people.map((person) => person.at);
  await until('the talk goes on', () => people.every((person, i) => person.at >= at[i] + byCount), 60_000,
    () => people.map((person) => person.tell()));
}

test('with a store in trouble', { concurrency: 3 }, async (t) => {
  const tests = [];

  tests.push(t.test(`nobody hears of a message before it is durable, also when the disk takes ${slowMs} ms`, () =>
    withServer({ binary: testBinary, failpoint: `in_wal_sync:5+=sleep_${slowMs}` }, (server) =>
      amongPeople(server, async (people) => {
        const waits = watchAcks(people);
        await talksOn(people, 40);
        const shortest = Math.min(...waits());
        assert.ok(waits().length > 50, 'many were heard of');
        assert.ok(shortest >= slowMs, `one was heard of after ${shortest} ms, and the sync alone takes ${slowMs}`);
      }))));

  for (const failpoint of ['before_commit:40=error', 'in_wal_sync:40=error', 'after_commit_before_answer:40=error',
    'disk_full:40=error', 'disk_broken:60=error', 'in_checkpoint:3=error'])
    tests.push(t.test(`a failure once (${failpoint}) closes no session and loses nothing`, () => {
      const bulk = failpoint.startsWith('in_checkpoint');
      const pace = bulk ? { everyMs: [20, 60], textBytes: 50_000 } : undefined;
      return withServer({ binary: testBinary, failpoint, args: bulk ? ['--rate-limits', 'off'] : [] }, (server) =>
        amongPeople(server, async (people, talk) => {
          const marks = people.map((person) => person.mark());
          await until('it has failed', () => /the disk failed|takes nothing just now/.test(server.log), 30_000);
          await talksOn(people);
          talk.stop();
          assert.deepEqual(people.map((person) => person.mark()), marks, 'somebody had to come back');
        }, pace));
    }));

  for (const place of ['in_wal_sync:60', 'before_commit:60', 'disk_broken:500'])
    tests.push(t.test(`a failure for ${failingMs} ms (${place}) holds messages up; what is durable is served on`, () =>
      withServer({ binary: testBinary, failpoint: `${place}=error_for_${failingMs}` }, (server) =>
        amongPeople(server, async (people) => {
          const marks = people.map((person) => person.mark());
          await until('it fails', () => server.log.includes('the disk failed'), 30_000);
          const since = performance.now();
          const [someone] = people;
          const { at } = someone;
          const { messages } = await someone.room.history({ limit: 10 });
          assert.equal(messages.length, 10);
          assert.ok(messages.at(-1).sequence >= at, `${at} was shown, and now ${messages.at(-1).sequence} is the newest`);
          const newcomer = new LibraryPerson({ url: server.url, room: rooms[0], name: 'Newcomer' });
          people.push(newcomer);
          await newcomer.come();
          assert.ok(newcomer.at >= at, 'a newcomer gets the history');
          assert.ok(performance.now() - since < failingMs, 'all that was while it failed');
          const pending = people.flatMap((person) => person.pendingUuids);
          assert.ok(pending.length > 0, 'messages wait');
          await until('what waited is acked', () => {
            const waiting = new Set(people.flatMap((person) => person.pendingUuids));
            return !pending.some((uuid) => waiting.has(uuid));
          }, failingMs + 20_000);
          await talksOn(people);
          assert.deepEqual(people.map((person) => person.mark()), [...marks, 1], 'somebody had to come back');
        }))));

  for (const place of ['before_commit', 'in_wal_sync'])
    tests.push(t.test(`killed while a commit hangs (${place}), nothing that anybody heard of is lost`, () =>
      withServer({ binary: testBinary, failpoint: `${place}:60=sleep_600000` }, (server) =>
        amongPeople(server, async (people) => {
          // Everybody has said something new, and then something more: had it been acked too soon, it would be known.
          const waiting = new Map();
          await until('everybody waits', () => people.every((person) => person.pendingCount >= 1), 30_000);
          for (const person of people) waiting.set(person, person.pendingCount);
          await until('everybody waits for more', () => people.every((person) => person.pendingCount >= waiting.get(person) + 3), 30_000,
            () => people.map((person) => person.tell()));
          const marks = people.map((person) => person.mark());
          await server.kill();
          await server.start();
          await until('everybody is back', () => people.every((person, i) => person.isBack(marks[i])), 40_000,
            () => people.map((person) => person.tell()));
          await talksOn(people);
        }))));

  tests.push(t.test('killed while the disk fails, nothing is lost', () =>
    withServer({ binary: testBinary, failpoint: 'in_wal_sync:60+=error' }, (server) =>
      amongPeople(server, async (people) => {
        await until('it fails', () => server.log.includes('the disk failed'), 30_000);
        const marks = people.map((person) => person.mark());
        await server.kill();
        await server.start();
        await until('everybody is back', () => people.every((person, i) => person.isBack(marks[i])), 40_000,
          () => people.map((person) => person.tell()));
        await talksOn(people);
      }))));

  tests.push(t.test('on a full disk messages wait, joins, history and catch-up go on, and so after a kill', async () => {
    const disk = await SmallDisk.make(48);
    try {
      await withServer({ dataDir: disk.path, wrapper: disk.wrapper }, async (server) => {
        const people = await come(server);
        // Classic clients write all that waits again before each word: they talk less, or they are what is waited for.
        const isClassic = ({ dialect }) => dialect === 'classic';
        const talks = [new Talk(people.filter((person) => !isClassic(person)), { everyMs: [30, 150], textBytes: 2_000 }),
          new Talk(people.filter(isClassic), { everyMs: [500, 1_500] })];
        const talk = { stop: () => talks.forEach((each) => each.stop()) };
        try {
          await talksOn(people, 20);
          disk.fill();
          await until('messages wait', () => server.log.includes('takes nothing just now'), 30_000);
          await servedWhileFull(server, people);

          // Killed and started while full: its ballast is what lets the database open, and the disk is full again.
          const marks = people.map((person) => person.mark());
          await server.kill();
          disk.fill();
          await server.start();
          disk.fill();
          await until('everybody is back', () => people.every((person, i) => person.dialect === 'v2' ? person.isBack(marks[i]) : person.client.socketsOpened > marks[i]),
            40_000, () => people.map((person) => person.tell()));
          disk.fill();
          await until('messages wait again', () => server.log.split('--- start 2')[1].includes('takes nothing just now'), 60_000);
          await servedWhileFull(server, people);

          disk.relieve();
          await talksOn(people);
          talk.stop();
          await allQuiet(people, 60_000);
          await server.kill();
          await judge(server, people, { storeDir: disk.outside, strangers: true });
        } finally {
          talk.stop();
          await Promise.all(people.map((person) => person.go()));
        }
      });
    } finally {
      await disk.remove();
    }
  }));

  await Promise.all(tests);
});

let newcomersCount = 0;
/** Nothing is acked, and everything is read. */
async function servedWhileFull(server, people) {
  const acked = () => people.map(({ story }) => story.events.filter(({ kind }) => kind === 'acked').length);
  const ackedBefore = acked();
  const someone = people[0];
  const { messages } = await someone.room.history({ limit: 10 });
  assert.equal(messages.length, 10);
  const name = `Newcomer ${++newcomersCount}`;
  const newcomer = new LibraryPerson({ url: server.url, room: rooms[0], name });
  let userKey;
  try {
    await newcomer.come();
    assert.equal(newcomer.at, someone.at, 'a newcomer gets the history up to the head');
    userKey = newcomer.userKey;
  } finally {
    await newcomer.go();
  }
  const returning = new LibraryPerson({ url: server.url, room: rooms[0], name, userKey, lastMessageId: messages[0].position });
  try {
    await returning.come();
    assert.equal(returning.at, someone.at, 'who comes back catches up');
  } finally {
    await returning.go();
  }
  assert.deepEqual([...newcomer.trouble, ...returning.trouble], []);
  assert.deepEqual(acked(), ackedBefore, 'something was acked on a full disk');
  assert.ok(people.some((person) => person.pendingCount > 0), 'messages wait');
}
