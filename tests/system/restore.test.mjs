// Promise 9: the store goes back to a backup under people who had gone further. Whoever had seen more is told so
// (classic clients cannot be told; they go on), nobody else notices anything, and the log goes on.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { promisify } from 'node:util';
import { readStore } from '../checker/store.mjs';
import { judge } from './lib/judge.mjs';
import { allQuiet, ClassicPerson, LibraryPerson, Talk } from './lib/people.mjs';
import { releasedBinary, withServer } from './lib/server.mjs';
import { until } from './lib/until.mjs';

const everyMs = [30, 150];

/**
 * What was seen until now is one story, what comes is another. What the backup still has of what this person said is said
 * in both.
 */
function turnThePage(person, past) {
  const kept = new Set([...(past.get(person.roomName) ?? []).map(({ uuid }) => uuid), ...person.pendingUuids]);
  const before = person.story.events.splice(0);
  person.story.events.push(...before.filter(({ kind, uuid }) => (kind === 'said' || kind === 'acked') && kept.has(uuid)));
  // A classic client's next connection tells by itself where it begins.
  if (person.dialect === 'v2') person.story.events.push({ kind: 'began', room: person.roomName, after: person.room.held.position });
}

test('a restored backup is noticed by whoever had seen more, and by nobody else', async () => {
  const backups = mkdtempSync(join(tmpdir(), 'tertulia-backup-'));
  try {
    await withServer({}, async (server) => {
      const people = [], idle = [], others = [];
      let talk = new Talk([], { everyMs });
      try {
        // In the quiet room nothing is said after the backup: nobody there has seen more.
        for (let i = 0; i < 6; ++i) people.push(new LibraryPerson({ url: server.url, room: 'sala', name: `Library ${i}` }));
        for (let i = 0; i < 3; ++i)
          people.push(new ClassicPerson({ address: server.address, room: 'sala', name: `Classic ${i}`, reconnectAfterMs: 300 }));
        idle.push(...[0, 1].map((i) => new LibraryPerson({ url: server.url, room: 'quiet', name: `Quiet ${i}` })),
          new ClassicPerson({ address: server.address, room: 'quiet', name: 'Quiet classic', reconnectAfterMs: 300 }));
        const all = [...people, ...idle];
        await Promise.all(all.map((person) => person.come()));
        for (const person of all) for (let n = 0; n < 5; ++n) person.say(`${person.name} says ${n} before the talk`);
        await allQuiet(all);
        // He leaves before the backup is made, and so he has seen no more than it has.
        const absent = new LibraryPerson({ url: server.url, room: 'sala', name: 'Absent' });
        others.push(absent);
        await absent.come();
        const absentKey = absent.userKey, absentAt = absent.room.held.position;
        await absent.go();

        // The backup is made while everybody talks.
        talk = new Talk(people, { everyMs });
        await until('they talk', () => people.every(({ at }) => at > 100));
        const backup = join(backups, 'one');
        await promisify(execFile)(releasedBinary, ['backup', backup, '--data-dir', server.dataDir]);
        const past = await readStore(backup);
        const backupHead = past.get('sala').length;
        await until('they go further', () => people.every(({ at }) => at > backupHead + 100));
        talk.stop();
        await allQuiet(all);
        await server.kill();
        await judge(server, all);
        const lostPast = await readStore(server.dataDir);
        assert.deepEqual(lostPast.get('sala').slice(0, backupHead), past.get('sala'), 'the backup is how it began');
        assert.deepEqual(lostPast.get('quiet'), past.get('quiet'));

        const marks = all.map((person) => person.mark());
        const classic = all.filter(({ dialect }) => dialect === 'classic');
        const sockets = classic.map(({ client }) => client.socketsOpened);
        for (const person of all) turnThePage(person, past);
        for (const person of people) person.say(`${person.name} says this while nobody is there`);
        rmSync(server.dataDir, { recursive: true });
        cpSync(backup, server.dataDir, { recursive: true });
        await server.start();
        await until('everybody is back', () => all.every((person, i) => person.isBack(marks[i])), 40_000,
          () => all.filter((person, i) => !person.isBack(marks[i])).map((person) => person.tell()));

        // The log goes on, for everybody.
        for (const person of people) if (person.dialect === 'classic') person.at = 0;
        talk = new Talk(people, { everyMs });
        await until('the talk goes on', () => people.every(({ at }) => at > backupHead + 30), 40_000, () => people.map((person) => person.tell()));
        talk.stop();
        await allQuiet(people);
        for (const person of idle) person.say(`${person.name} says something again`);
        await allQuiet(idle);

        // Who was away, and has seen no more than the backup has, notices nothing.
        const returning = new LibraryPerson({ url: server.url, room: 'sala', name: 'Absent', userKey: absentKey, lastMessageId: absentAt });
        all.push(returning);
        others.push(returning);
        await returning.come();
        await allQuiet([...people, returning]);

        for (const person of all.filter(({ dialect }) => dialect === 'v2'))
          assert.equal(person.resets, people.includes(person) ? 1 : 0, `${person.name}: how often it was told that its past is gone`);
        assert.deepEqual(classic.map(({ client }) => client.socketsOpened), sockets.map((count) => count + 1), 'each came back once');
        await server.kill();
        const store = await judge(server, all, { strangers: true });
        assert.deepEqual(store.get('sala').slice(0, backupHead), past.get('sala'), 'what was backed up stands as it was');
      } finally {
        talk.stop();
        await Promise.all([...people, ...idle, ...others].map((person) => person.go()));
      }
    });
  } finally {
    rmSync(backups, { recursive: true, force: true });
  }
});
