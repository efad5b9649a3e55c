// `tertulia verify` over the stores of a cluster: what a node wrote fits, also while it serves; what somebody changed in the
// database behind its back is named by room and sequence; and the rest is read all the same.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import test from 'node:test';
import { Mongo } from '../cluster/mongo.mjs';
import { Postgres } from '../cluster/postgres.mjs';
import { removeFolder, temporaryFolder } from '../cluster/program.mjs';
import { allQuiet, LibraryPerson } from './lib/people.mjs';
import { releasedBinary, Server } from './lib/server.mjs';

const texts = 12;  // in each room
const rooms = ['plaza', 'sala'];

/** @returns {Promise<{code: number, lines: string[], err: string}>} */
const verify = (url) => new Promise((done) => {
  execFile(releasedBinary, ['verify'], { timeout: 60_000, env: { ...process.env, TERTULIA_STORE: url } },
    (error, out, err) => done({ code: Number(error?.code ?? (error ? -1 : 0)), lines: out.trimEnd().split('\n'), err }));
});

/**
 * A database server, a database in it, how somebody with an editor changes or removes a message there, and what is then said
 * of a log that goes on only to there.
 * @typedef {{url: string, setText: (room: string, sequence: number, text: string) => Promise<any>,
 *   remove: (room: string, sequence: number) => Promise<any>, hole: (after: number) => RegExp, stop: () => Promise<void>}} Place
 */

/** @type {Record<string, (folder: string) => Promise<Place>>} */
const places = {
  async postgresql(folder) {
    const server = await Postgres.start({ folder, fast: true });
    const database = await server.database();
    const at = (room, sequence) => `room = (SELECT id FROM tertulia.rooms WHERE name = '${room}') AND seq = ${sequence}`;
    return {
      url: server.url(database),
      setText: (room, sequence, text) => server.query(`UPDATE tertulia.messages SET text = '${text}' WHERE ${at(room, sequence)}`, { database }),
      remove: (room, sequence) => server.query(`DELETE FROM tertulia.messages WHERE ${at(room, sequence)}`, { database }),
      hole: (after) => new RegExp(`^room "plaza", sequence ${after}: here the log ends, at ${after}-\\S{16}, but its head is said to be ${texts}-\\S{16}$`),
      stop: () => server.stop(),
    };
  },
  async mongodb(folder) {
    const server = await Mongo.start({ folder });
    const name = server.database();
    const changed = (how) => server.use(name, async (database) => {
      const { modifiedCount, deletedCount } = await how(database.collection('messages'));
      assert.equal(modifiedCount ?? deletedCount, 1);
    });
    return {
      url: server.url(name),
      setText: (room, sequence, text) => changed((messages) => messages.updateOne({ room, sequence }, { $set: { text } })),
      remove: (room, sequence) => changed((messages) => messages.deleteOne({ room, sequence })),
      // Its logs have no head that is written down: they end where nothing continues them.
      hole: (after) => new RegExp(`^room "plaza", sequence ${texts}: nothing leads to this message, for the log ends at ${after}-\\S{16}$`),
      stop: () => server.stop(),
    };
  },
};

for (const [kind, start] of Object.entries(places)) {
  test(`${kind}: every chain fits, and a text that somebody changed or removed is named`, async () => {
    const folder = temporaryFolder('verify');
    const place = await start(folder);
    const server = new Server({ store: { url: place.url, read: () => Promise.reject(new Error('verify reads it')) } });
    try {
      await server.start();
      const people = rooms.map((room) => new LibraryPerson({ url: server.url, room, name: 'Ana' }));
      await Promise.all(people.map((person) => person.come()));
      for (const person of people) for (let i = 1; i <= texts; ++i) person.say(`text ${i}`);
      await allQuiet(people);

      const all = `${rooms.length} rooms and ${rooms.length * texts} messages were read; `;
      const fits = { code: 0, lines: [`${all}every chain fits.`], err: '' };
      assert.deepEqual(await verify(place.url), fits, 'while a node serves');
      await Promise.all(people.map((person) => person.go()));
      await server.stop();
      assert.deepEqual(await verify(place.url), fits, 'while none does');

      await place.setText('plaza', 7, 'what was never said');
      const changed = await verify(place.url);
      assert.match(changed.lines[0], /^room "plaza", sequence 7: has the chain \S{16}, but from the message \S{16} is computed$/);
      assert.deepEqual({ ...changed, lines: changed.lines.slice(1) }, { code: 1, lines: [`${all}1 place does not fit.`], err: '' });

      await place.setText('plaza', 7, 'text 7');
      assert.deepEqual(await verify(place.url), fits, 'it is as it was');

      // The first one last: the room must be found without it.
      for (const sequence of [5, 1]) {
        await place.remove('plaza', sequence);
        const removed = await verify(place.url);
        assert.match(removed.lines[0], place.hole(sequence - 1));
        const last = `${rooms.length} rooms and ${sequence - 1 + texts} messages were read; 1 place does not fit.`;
        assert.deepEqual({ ...removed, lines: removed.lines.slice(1) }, { code: 1, lines: [last], err: '' }, 'the other room is read all the same');
      }
    } catch (error) {
      throw server.explain(error);
    } finally {
      await server.remove();
      await place.stop();
      removeFolder(folder);
    }
  });
}
