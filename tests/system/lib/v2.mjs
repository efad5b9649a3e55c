// A v2 client with no brain: it asks, gets answers, and keeps what it was told in order. What the library does for people
// is client/'s to show; this shows what the server does.
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { WebSocketPeer } from './websocket.mjs';
import { until, within } from './until.mjs';

/** @param {string} roomName @returns {string} the position before a room's first message */
export function startPosition(roomName) {
  return `0-${createHash('sha256').update(`tertulia:${roomName}`).digest().subarray(0, 12).toString('base64url')}`;
}
export function newUserKey() {
  return randomBytes(32).toString('base64url');
}

/** An error answer. */
export class Refused extends Error {
  /** @param {{code: number, message: string, data?: {retryable: boolean, retryAfterMs?: number}}} error */
  constructor(error) {
    super(`${error.code} ${error.message}`);
    this.code = error.code;
    this.data = error.data;
  }
}

export class V2Client {
  #nextId = 1;
  /** @type {Map<unknown, {resolve: (result: any) => void, reject: (error: Error) => void}>} */ #calls = new Map();

  /** @param {WebSocketPeer} peer */
  constructor(peer) {
    this.peer = peer;
    /** All that was not an answer, in order. @type {any[]} */ this.told = [];
    /** Messages a room, in order. @type {Map<string, any[]>} */ this.rooms = new Map();
    /** Answers in the order in which they came. @type {any[]} */ this.answers = [];
    this.closed = peer.closed;
    peer.on('text', (text) => this.#take(JSON.parse(text)));
    peer.on('close', (how) => {
      for (const call of this.#calls.values()) call.reject(new Error(`closed with ${how.code}`));
      this.#calls.clear();
    });
  }

  /** @param {import('./websocket.mjs').WebSocketPeer extends never ? never : {host?: string, port: number, localAddress?: string, autoPong?: boolean}} to */
  static async connect(to) {
    return new V2Client(await WebSocketPeer.connect({ ...to, protocol: 'tertulia.v2' }));
  }

  /** The id of the newest call. */
  get lastId() {
    return this.#nextId - 1;
  }
  /** @param {string} method @param {object} [params] @returns {Promise<any>} the result; rejects with Refused */
  call(method, params = {}) {
    const id = this.#nextId++;
    const promise = new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }));
    this.peer.send(JSON.stringify({ jsonrpc: '2.0', method, params, id }));
    return within(`${method} is answered`, promise, 30_000);
  }
  /** @param {string} roomName @param {string} userName @param {object} [more] */
  join(roomName, userName, more = {}) {
    return this.call('joinRoom', { roomName, userName, ...more });
  }
  /** @param {string} roomName @param {string} text @param {string} [uuid] */
  text(roomName, text, uuid = randomUUID()) {
    return this.call('textMessage', { roomName, text, uuid, date: '2026-01-01T00:00:00Z' });
  }

  /** @param {string} roomName @returns {any[]} its messages as they came */
  messages(roomName) {
    return this.rooms.get(roomName) ?? [];
  }
  /** @param {string} roomName @param {number} sequence */
  async reaches(roomName, sequence, withinMs = 20_000) {
    await until(`${roomName} reaches ${sequence}`, () => (this.messages(roomName).at(-1)?.sequence ?? 0) >= sequence, withinMs,
      () => ({ at: this.messages(roomName).at(-1)?.sequence }));
  }
  /** Waits for a notification. @param {string} method @param {(params: any) => boolean} [match] */
  async hears(method, match = () => true, withinMs = 20_000) {
    const heard = () => this.told.find((each) => each.method === method && match(each.params));
    return (await until(`${method} is heard`, heard, withinMs, () => this.told.slice(-5))).params;
  }
  /** @param {string} method @returns {any[]} params of what was told so far */
  heard(method) {
    return this.told.filter((each) => each.method === method).map((each) => each.params);
  }

  close(code = 1000) {
    this.peer.close(code);
    return this.closed;
  }
  cut() {
    this.peer.cut();
    return this.closed;
  }

  #take(said) {
    if ('result' in said || 'error' in said) {
      this.answers.push(said);
      const call = this.#calls.get(said.id);
      this.#calls.delete(said.id);
      if ('result' in said) call?.resolve(said.result);
      else call?.reject(new Refused(said.error));
      return;
    }
    this.told.push(said);
    if (said.method !== 'textMessage') return;
    const { roomName } = said.params;
    if (!this.rooms.has(roomName)) this.rooms.set(roomName, []);
    /** @type {any[]} */ (this.rooms.get(roomName)).push(said);
  }
}
