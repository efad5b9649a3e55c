// Users who want one name, again and again: whoever gets it says something, holds it a while, and leaves cleanly or not.
// When each was admitted and what he said was taken tells the checker whether a name ever was two users'.
import { randomUUID } from 'node:crypto';
import { setTimeout as pass } from 'node:timers/promises';
import { monotonicMs } from '../../checker/checker.mjs';
import { random } from './random.mjs';
import { newUserKey, Refused, V2Client } from './v2.mjs';

/** @typedef {import('../../checker/checker.mjs').Story} Story */

export class Contenders {
  grants = 0;
  refusals = 0;
  /** One for each session that was granted a name; for judge(). @type {{name: string, roomName: string, story: Story, trouble: string[]}[]} */
  people = [];
  #ended = false;
  /** @type {Set<V2Client>} */ #open = new Set();
  /** @type {Promise<void>[]} */ #running = [];

  /** @param {{host: string, port: number}} address @param {{room: string, namesCount: number, usersEach: number}} options */
  constructor(address, { room, namesCount, usersEach }) {
    this.address = address;
    this.room = room;
    this.usersEach = usersEach;
    this.names = Array.from({ length: namesCount }, (_, i) => `Wanted ${i}`);
  }

  begin() {
    for (const name of this.names)
      for (let i = 0; i < this.usersEach; ++i) this.#running.push(this.#live(name, `user ${i} of ${name}`, random(`${name} ${i}`)));
  }
  async end() {
    this.#ended = true;
    for (const client of this.#open) client.cut();
    await Promise.all(this.#running);
  }

  async #live(name, user, chance) {
    const userKey = newUserKey();
    while (!this.#ended) {
      const client = await V2Client.connect({ ...this.address, timeoutMs: 3_000 }).catch(() => undefined);
      if (client) {
        this.#open.add(client);
        await this.#tryOnce(client, name, user, userKey, chance).catch(() => {});
        this.#open.delete(client);
        if (client.peer.isOpen) client.cut();
      }
      await pass(chance.between(300, 1_200));
    }
  }

  /** A story of its own for each session: what was not acked at its end is not said again. */
  #session(user) {
    /** @type {Story} */ const story = { who: `${user}, session ${this.grants + 1}`, dialect: 'v2', events: [] };
    this.people.push({ name: user, roomName: this.room, story, trouble: [] });
    return story;
  }

  async #tryOnce(client, name, user, userKey, chance) {
    const joined = await client.join(this.room, name, { userKey, limit: 1 }).catch((error) => {
      if (error instanceof Refused) ++this.refusals;
      return undefined;
    });
    if (!joined) return;
    const { events } = this.#session(user);
    ++this.grants;
    events.push({ kind: 'admitted', room: this.room, userId: joined.userId, userName: name, at: monotonicMs() });
    const leaving = chance.below(3);
    const texts = 1 + chance.below(3);
    for (let i = 0; i < texts && client.peer.isOpen; ++i) {
      const uuid = randomUUID(), text = `${user} has it, ${i}`;
      events.push({ kind: 'said', room: this.room, uuid, userId: joined.userId, text, at: monotonicMs() });
      const answer = await client.text(this.room, text, uuid).catch(() => undefined);
      if (!answer) break;
      events.push({ kind: 'acked', room: this.room, uuid, position: answer._id });
      await pass(chance.between(100, 900));
    }
    events.push({ kind: 'away', room: this.room });
    if (leaving > 0 && client.peer.isOpen) await client.call('leaveRoom', { roomName: this.room }).catch(() => {});
  }
}
