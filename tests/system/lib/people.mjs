// People who talk over real sockets and keep a story for the checker (tests/checker): LibraryPerson through the client
// library, ClassicPerson as an existing client does. Both are told alike: say, isBack, isQuiet, story.
import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ClassicClient } from './classic.mjs';
import { random } from './random.mjs';
import { repository } from './server.mjs';
import { monotonicMs } from '../../checker/checker.mjs';
import { until } from './until.mjs';

const require = createRequire(join(repository, 'client/package.json'));
/** The library as built from this tree. */
const library = await import(pathToFileURL(join(repository, 'client/dist/index.js')).href);
export const Client = library.Client;
export const WebSocket = require('ws');

/** @typedef {import('../../checker/checker.mjs').Story} Story */

// Everybody in a room sees the same messages: one copy of each will do, or long runs do not fit into memory.
/** @type {Map<string, any>} */ const copies = new Map();
function oneCopy(message) {
  const known = copies.get(message.position);
  if (known && Object.keys(known).length === Object.keys(message).length && Object.keys(known).every((key) => known[key] === message[key]))
    return known;
  copies.set(message.position, message);
  return message;
}

export class LibraryPerson {
  /** How often it has been up to date after coming (back). */
  lives = 0;
  resets = 0;
  /** What must not happen. @type {string[]} */ trouble = [];
  /** What was said and failed for good; also in `trouble`. @type {{uuid: string, outcome: string, error: any}[]} */ failures = [];

  /**
   * @param {{url: string, room: string, name: string, userKey?: string, lastMessageId?: string}} options
   *   lastMessageId: where an earlier story of the same user ended
   */
  constructor({ url, room, name, userKey, lastMessageId }) {
    this.name = name;
    /** @type {Story} */ this.story = { who: `${name} (v2)`, dialect: 'v2', events: [] };
    const chance = random(`library ${name}`);
    this.client = new Client({ url, WebSocket, random: chance.next });
    this.room = this.client.room(room);
    this.options = { userName: name, userKey, lastMessageId };
    const { events } = this.story;
    events.push({ kind: 'began', room, after: lastMessageId ?? null });
    this.room.on('message', (message) => events.push({ kind: 'saw', room, message: oneCopy(message) }));
    this.room.on('reset', () => { ++this.resets; events.push({ kind: 'reset', room }); });
    this.room.on('skipped', ({ after, before }) => events.push({ kind: 'skipped', room, after, before }));
    this.room.on('sent', ({ uuid, sequence, position }) => events.push({ kind: 'acked', room, uuid, sequence, position, at: monotonicMs() }));
    this.room.on('failed', ({ uuid, outcome, error }) => {
      if (outcome === 'none') events.push({ kind: 'refused', room, uuid });
      this.failures.push({ uuid, outcome, error });
      this.trouble.push(`a message failed (${outcome}): ${error.message}`);
    });
    this.room.on('state', ({ phase }) => {
      if (phase === 'offline') events.push({ kind: 'away', room });
    });
    this.room.on('live', () => {
      ++this.lives;
      events.push({ kind: 'admitted', room, userId: this.userId, userName: name, at: monotonicMs() });
    });
    for (const one of [this.client, this.room]) one.on('error', (error) => this.trouble.push(String(error.message)));
  }

  get dialect() {
    return 'v2';
  }
  get roomName() {
    return this.room.name;
  }
  get userId() {
    return this.client.user?.userId;
  }
  get userKey() {
    return this.client.user?.userKey;
  }
  /** The last sequence it holds. */
  get at() {
    return this.room.held?.to ?? 0;
  }
  get pendingCount() {
    return this.room.pending.length;
  }
  get pendingUuids() {
    return this.room.pending.map(({ uuid }) => uuid);
  }

  async come(withinMs = 20_000) {
    this.client.connect();
    await this.room.join(this.options);
    await until(`${this.name} is up to date`, () => this.isBack(0), withinMs, () => this.room.state);
  }
  /** @param {string} text @returns {string} its uuid */
  say(text) {
    const uuid = randomUUID();
    this.story.events.push({ kind: 'said', room: this.roomName, uuid, userId: this.userId, text, at: monotonicMs() });
    this.room.send(text, { uuid });
    return uuid;
  }
  /** What isBack() needs to tell a coming back from what was before. */
  mark() {
    return this.lives;
  }
  /** @param {number} mark */
  isBack(mark) {
    return this.lives > mark && this.room.state.phase === 'live';
  }
  isDown() {
    return this.room.state.phase === 'offline';
  }
  tell() {
    return `${this.name}: ${JSON.stringify(this.client.state)} ${JSON.stringify(this.room.state)} pending ${this.pendingCount} at ${this.at}`;
  }
  async go() {
    await this.client.close();
  }
}

export class ClassicPerson {
  /** @type {string[]} */ trouble = [];
  /** The newest socket on which a message came. */
  heardOn = -1;
  at = 0;

  /** @param {{address: {host: string, port: number}, room: string, name: string, reconnectAfterMs?: number}} options */
  constructor({ address, room, name, reconnectAfterMs }) {
    this.name = name;
    this.roomName = room;
    /** @type {Story} */ this.story = { who: `${name} (classic)`, dialect: 'classic', events: [] };
    this.client = new ClassicClient({ address, userName: name, reconnectAfterMs });
    const { events } = this.story;
    this.client.on('connected', () => events.push({ kind: 'away', room }, { kind: 'began', room, after: this.client.lastMessageId }));
    this.client.on('joined', () => events.push({ kind: 'admitted', room, userId: this.client.userId, userName: name, at: monotonicMs() }));
    // A push that comes again is the same object, and tells the same events.
    /** @type {Map<object, object[]>} */ const told = new Map();
    this.client.on('message', (push) => {
      if (!told.has(push)) {
        const { params, method, sequence, _id: position } = push;
        const { uuid, userId, userName, text, date, sentAt, roomName } = params;
        const message = oneCopy({ method, sequence, position, uuid, userId, userName, text, date, sentAt });
        const saw = { kind: 'saw', room: roomName, message };
        told.set(push, userId === this.client.userId ? [saw, { kind: 'acked', room: roomName, uuid }] : [saw]);
      }
      events.push(...told.get(push));
      this.heardOn = this.client.socketsOpened - 1;
      this.at = Math.max(this.at, push.sequence);
    });
  }

  get dialect() {
    return 'classic';
  }
  get userId() {
    return this.client.userId;
  }
  get pendingCount() {
    return this.client.pending.size;
  }
  get pendingUuids() {
    return [...this.client.pending.keys()];
  }

  async come() {
    await this.client.isConnected();
    await this.client.joinRoom(this.roomName);
  }
  /** @param {string} text @returns {string} its uuid */
  say(text) {
    // Told before it is written: its ack may not be told first.
    const said = { kind: 'said', room: this.roomName, uuid: '', userId: this.userId, text, at: monotonicMs() };
    this.story.events.push(said);
    said.uuid = this.client.sendText(text);
    return said.uuid;
  }
  mark() {
    return this.client.socketsOpened;
  }
  /** @param {number} mark */
  isBack(mark) {
    return this.client.connected && this.client.socketsOpened > mark && this.heardOn === this.client.socketsOpened - 1;
  }
  isDown() {
    return !this.client.connected;
  }
  tell() {
    const { socketsOpened, errors, closes } = this.client;
    return `${this.name}: sockets ${socketsOpened} heard on ${this.heardOn} pending ${this.pendingCount} at ${this.at} ` +
      `errors ${JSON.stringify(errors.slice(-2))} closes ${JSON.stringify(closes.slice(-2))}`;
  }
  async go() {
    this.trouble.push(...this.client.violations);
    await this.client.stop();
  }
}

/** Lets each of them talk at its own pace until stop(). Texts tell who and which. */
export class Talk {
  #timers = new Map();
  #counts = new Map();

  /**
   * @param {(LibraryPerson|ClassicPerson)[]} people
   * @param {{everyMs: [number, number], textBytes?: number}} pace textBytes: of each text; default: a few words
   */
  constructor(people, { everyMs, textBytes }) {
    for (const person of people) {
      const chance = random(`talk ${person.name}`);
      const next = () => this.#timers.set(person, setTimeout(() => {
        const count = (this.#counts.get(person) ?? 0) + 1;
        this.#counts.set(person, count);
        const text = `${person.name} says ${count}${' and more'.repeat(chance.below(8))}`;
        person.say(textBytes === undefined ? text : text.padEnd(textBytes, '.'));
        next();
      }, chance.between(...everyMs)));
      next();
    }
  }
  stop() {
    for (const timer of this.#timers.values()) clearTimeout(timer);
  }
}

/**
 * Waits until nobody has anything unacked and all of a room have seen the same head.
 * @param {(LibraryPerson|ClassicPerson)[]} people
 */
export async function allQuiet(people, withinMs = 30_000) {
  const roomQuiet = (room) => {
    const there = people.filter((person) => person.roomName === room);
    return there.every((person) => person.pendingCount === 0 && person.at === there[0].at);
  };
  const rooms = [...new Set(people.map((person) => person.roomName))];
  await until('everything is acked and everybody has seen the head', () => rooms.every(roomQuiet), withinMs,
    () => people.map((person) => person.tell()));
}
