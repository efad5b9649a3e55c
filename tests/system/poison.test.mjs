// One message that the store takes never holds up nobody else's. A trigger in the database refuses it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'node:test';
import { judge } from './lib/judge.mjs';
import { allQuiet, ClassicPerson, LibraryPerson } from './lib/people.mjs';
import { testBinary, withServer } from './lib/server.mjs';
import { until, within } from './lib/until.mjs';

const roomsCount = 10, perRoom = 10;
const refusedByStore = -32603;
const holdUpMs = 500;

/** A server whose store refuses every text "poison", and holds its `commit`th commit up so that a batch fills behind it. */
async function poisonedServer(server, commit) {
  await server.stop();
  execFileSync('sqlite3', [join(server.dataDir, 'tertulia.db'),
    `CREATE TRIGGER poison BEFORE INSERT ON messages WHEN NEW.text = 'poison' BEGIN SELECT RAISE(ABORT, 'poisoned'); END`]);
  await server.start({ failpoint: `before_commit:${commit}=sleep_${holdUpMs}` });
}

test('of a batch of 100 messages over 10 rooms one is refused, and 99 commit within a second, in order', () =>
  withServer({ binary: testBinary }, async (server) => {
    await poisonedServer(server, roomsCount + 1);
    const people = [];
    try {
      // One by one, so that the commit that is held up is known: each says one word, in a transaction of its own.
      for (let i = 0; i < roomsCount; ++i) {
        const person = new LibraryPerson({ url: server.url, room: `room ${i}`, name: `Person ${i}` });
        people.push(person);
        await person.come();
        person.say('here');
        await allQuiet(people);
      }
      const commitsBefore = await server.metric('tertulia_commits_total');
      people[0].say('while this one is held up in its commit, a batch fills');
      const poisoned = people[4];
      let poisonUuid = '';
      for (let n = 0; n < perRoom; ++n)
        for (const person of people) {
          if (person === poisoned && n === 5) poisonUuid = person.say('poison');
          else person.say(`${person.name} says ${n}`);
        }
      assert.ok(people[0].pendingCount === perRoom + 1, 'nothing of it is acked yet');
      await until('the one before is acked', () => people[0].pendingCount <= perRoom);
      const began = performance.now();
      await allQuiet(people);
      const tookMs = performance.now() - began;
      assert.ok(tookMs <= 1_000, `99 took ${tookMs} ms`);
      const commits = await server.metric('tertulia_commits_total') - commitsBefore;
      console.log(`# 99 of 100 in ${tookMs.toFixed()} ms and ${commits} commits`);
      assert.ok(commits <= 10, `${commits} commits: that was no batch`);

      assert.deepEqual(poisoned.story.events.filter(({ kind }) => kind === 'refused').map(({ uuid }) => uuid), [poisonUuid]);
      assert.equal(poisoned.failures[0].error.rpcCode, refusedByStore);
      assert.equal(poisoned.failures[0].outcome, 'none');
      assert.equal(people.reduce((sum, { failures }) => sum + failures.length, 0), 1);
      poisoned.trouble.length = 0;
      await server.kill();
      const store = await judge(server, people);
      const texts = store.get('room 4').map(({ text }) => text);
      assert.deepEqual(texts, ['here', ...[0, 1, 2, 3, 4, 6, 7, 8, 9].map((n) => `Person 4 says ${n}`)]);
      assert.equal([...store.values()].reduce((sum, rows) => sum + rows.length, 0), roomsCount + 1 + 99);
    } finally {
      await Promise.all(people.map((person) => person.go()));
    }
  }));

test('a classic client is told of its refused message, stays connected, and its others are taken', () =>
  withServer({ binary: testBinary }, async (server) => {
    await poisonedServer(server, 1_000_000);
    const cleo = new ClassicPerson({ address: server.address, room: 'sala', name: 'Cleo' });
    try {
      await cleo.come();
      cleo.say('one');
      const poison = cleo.client.sendText('poison');
      cleo.say('two');
      // It resends for ever what was refused, with each send: that must not hold up what comes behind it.
      await until('the others are acked', () => cleo.pendingCount === 1);
      assert.deepEqual([...cleo.client.pending.keys()], [poison]);
      cleo.say('three');
      await until('the last is acked', () => cleo.pendingCount === 1 && cleo.at === 3);
      await until('it is told', () => cleo.client.errors.length >= 1);
      assert.ok(cleo.client.errors.every(({ code }) => code === refusedByStore), JSON.stringify(cleo.client.errors));
      assert.equal(cleo.client.socketsOpened, 1);
      await within('the server ends', server.kill());
      const store = await judge(server, [cleo]);
      assert.deepEqual(store.get('sala').map(({ text }) => text), ['one', 'two', 'three']);
    } finally {
      await cleo.go();
    }
  }));
