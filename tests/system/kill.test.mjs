// The server is killed with -9 under people who write, again and again, and comes back over the same data directory.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as pass } from 'node:timers/promises';
import { judge } from './lib/judge.mjs';
import { allQuiet, ClassicPerson, Client, LibraryPerson, Talk, WebSocket } from './lib/people.mjs';
import { random } from './lib/random.mjs';
import { long, setup, withServer } from './lib/server.mjs';
import { until, within } from './lib/until.mjs';

const killsCount = Number(process.env.TERTULIA_TEST_KILLS ?? (long && !process.env.TERTULIA_SANITIZED ? 120 : 20));
// What stands in for MongoDB looks through a whole collection for most questions: fewer people who say less.
const isMongo = setup.endsWith('mongodb');
const [libraryCount, classicCount] = isMongo ? [15, 5] : [40, 10];
const roomsCount = 5;
const everyMs = /** @type {[number, number]} */ (isMongo ? [2_000, 6_000] : [100, 400]);
// Theirs is 5 s; shortened, or the test would mostly wait for them. In the long form every tenth kill has it in full.
const classicBackMs = 400, classicBackLongMs = 5_000;
const nameGraceMs = 10_000;

/** Somebody without a past who wants the name of `person`, from the first moment that the server is there. */
class Newcomer {
  /** @param {string} url @param {{name: string, roomName: string}} person */
  constructor(url, { name, roomName }) {
    this.name = name;
    this.got = false;
    this.client = new Client({ url, WebSocket });
    this.client.connect();
    this.answer = this.client.room(roomName).join({ userName: name })
      .then(() => { this.got = true; return 'admitted'; }, (error) => error.code);
  }
}

test(`${killsCount} kills under ${libraryCount} clients of the library and ${classicCount} classic ones lose, repeat and reorder nothing`, async () => {
  const chance = random('kills');
  await withServer({}, async (server) => {
    let classicBack = classicBackMs;
    const roomOf = (i) => `room ${i % roomsCount}`;
    const people = [];
    for (let i = 0; i < libraryCount; ++i)
      people.push(new LibraryPerson({ url: server.url, room: roomOf(i), name: `Library ${i}` }));
    for (let i = 0; i < classicCount; ++i) {
      const person = new ClassicPerson({ address: server.address, room: roomOf(i), name: `Classic ${i}` });
      Object.defineProperty(person.client.options, 'reconnectAfterMs', { get: () => classicBack });
      people.push(person);
    }
    const newcomers = [];
    const talk = { stop: () => {} };
    try {
      await Promise.all(people.map((person) => person.come()));
      // Everybody has seen a message: who holds a position proves a past.
      for (const person of people) person.say(`${person.name} is here`);
      await allQuiet(people);
      Object.assign(talk, { stop: ((t) => () => t.stop())(new Talk(people, { everyMs })) });

      for (let kill = 1; kill <= killsCount; ++kill) {
        await pass(chance.between(1_000, 3_000));
        classicBack = long && kill % 10 === 0 ? classicBackLongMs : classicBackMs;
        const marks = people.map((person) => person.mark());
        await server.kill();
        for (const newcomer of newcomers.splice(0)) {
          assert.equal(newcomer.got, false, `after kill ${kill - 1} a newcomer got the name ${newcomer.name}`);
          void newcomer.client.close();
        }
        await server.start();
        for (const offset of [0, libraryCount]) {
          const whose = people[offset + chance.below(offset === 0 ? libraryCount : classicCount)];
          newcomers.push(new Newcomer(server.url, whose));
        }
        await until(`everybody is back after kill ${kill}`, () => people.every((person, i) => person.isBack(marks[i])), 30_000,
          () => people.filter((person, i) => !person.isBack(marks[i])).map((person) => person.tell()));
      }
      talk.stop();
      await allQuiet(people);

      // When names are free again for everybody, those of the present are still theirs, and a new one is anybody's.
      const stranger = new Newcomer(server.url, { name: 'Somebody new', roomName: roomOf(0) });
      for (const newcomer of newcomers)
        assert.equal(await within('a newcomer is answered', newcomer.answer, nameGraceMs + 10_000), 'nameTaken', newcomer.name);
      assert.equal(await within('somebody new is admitted', stranger.answer, nameGraceMs + 10_000), 'admitted');
      await stranger.client.close();

      await server.kill();
      const store = await judge(server, people);
      const stored = [...store.values()].reduce((sum, rows) => sum + rows.length, 0);
      console.log(`# ${killsCount} kills, ${stored} messages stored, ${people.reduce((sum, { story }) => sum + story.events.length, 0)} events`);
      assert.equal(store.size, roomsCount);
    } finally {
      talk.stop();
      for (const { client } of newcomers) void client.close();
      await Promise.all(people.map((person) => person.go()));
    }
    assert.deepEqual(people.flatMap((person) => person.trouble), []);
  });
});
