// A small world to test the library in: logs that are the truth, endpoints (real WebSocket servers on loopback) that serve
// them as the protocol says, and faults on request. The chain here is computed apart from the library's, with Node's hash.
import { createHash } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import type { Timers } from '../src/types.js';

export type Json = Record<string, unknown>;

export interface Said {
  userId: string;
  userName: string;
  uuid: string;
  text: string;
  date?: string;
}

function link(previous: Buffer, fields: (string | number)[]): Buffer {
  const hash = createHash('sha256').update(previous);
  for (const each of fields) {
    const bytes = Buffer.from(String(each));
    hash.update(`${bytes.length}:`).update(bytes).update(',');
  }
  return hash.digest().subarray(0, 12);
}

/** One room's log. */
export class Log {
  readonly frames: Json[] = [];
  private readonly uuids = new Map<string, number>();
  private chains: Buffer[];

  constructor(readonly name: string) {
    this.chains = [createHash('sha256').update(`tertulia:${name}`).digest().subarray(0, 12)];
  }

  get head(): number {
    return this.frames.length;
  }

  position(sequence: number): string {
    return `${sequence}-${this.chains[sequence]!.toString('base64url')}`;
  }

  fits(position: string): number | undefined {
    const sequence = Number(position.split('-', 1)[0]);
    return sequence <= this.head && this.position(sequence) === position ? sequence : undefined;
  }

  find(uuid: string): number | undefined {
    return this.uuids.get(uuid);
  }

  append(said: Said): number {
    const sequence = this.head + 1;
    const { userId, userName, uuid, text } = said;
    const date = said.date ?? '';
    const sentAt = 1_700_000_000_000 + sequence;
    const chain = link(this.chains[sequence - 1]!, [sequence, 'textMessage', uuid, userId, userName, date, sentAt, text]);
    this.chains.push(chain);
    this.uuids.set(uuid, sequence);
    this.frames.push({
      jsonrpc: '2.0',
      method: 'textMessage',
      params: { userId, roomName: this.name, userName, text, ack: true, uuid, date, sentAt },
      id: 1,
      sequence,
      _id: this.position(sequence),
    });
    return sequence;
  }

  /** Goes back to an earlier past, as a restored backup does. */
  rewind(sequence: number): void {
    this.frames.length = sequence;
    this.chains.length = sequence + 1;
    for (const [uuid, at] of this.uuids) if (at > sequence) this.uuids.delete(uuid);
  }
}

export interface Request {
  id: number;
  method: string;
  params: Json;
}

/** What a server needs of a connection: `ws` has it, and so has the simulated net of model.test.ts. */
export interface ServerSide {
  send(data: string | Buffer): void;
  close(code?: number): void;
  terminate(): void;
}

/** One connection as its server sees it. */
export class Conn {
  readonly requests: Request[] = [];
  readonly cursors = new Map<string, number>();
  readonly userNames = new Map<string, string>();
  userId = '';
  open = true;
  closeCode: number | undefined;
  /** The log is not delivered by itself while this is set. */
  held = false;

  constructor(
    readonly endpoint: Endpoint,
    readonly ws: ServerSide,
    readonly number: number,
  ) {}

  asked(method: string): Request[] {
    return this.requests.filter((request) => request.method === method);
  }

  texts(room: string): string[] {
    return this.asked('textMessage')
      .filter((request) => request.params['roomName'] === room)
      .map((request) => String(request.params['text']));
  }

  send(frame: Json | string): void {
    if (this.open) this.ws.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  answer(id: number, result: Json = {}): void {
    this.send({ jsonrpc: '2.0', result: { status: 'OK', ...result }, id });
  }

  fail(id: number, code: number, data?: Json): void {
    this.send({ jsonrpc: '2.0', error: { code, message: `error ${code}`, ...(data ? { data } : {}) }, id });
  }

  notify(method: string, params: Json): void {
    this.send({ jsonrpc: '2.0', method, params });
  }

  /** The network goes away: no close frame. */
  cut(): void {
    this.open = false;
    this.ws.terminate();
  }

  close(code?: number): void {
    this.open = false;
    this.ws.close(code);
  }

  join(request: Request): void {
    const { params } = request;
    const room = String(params['roomName']);
    const log = this.endpoint.world.log(room);
    const last = params['lastMessageId'];
    const limit = params['limit'] as number | undefined;
    this.userId = userIdOf(String(params['userKey']));
    this.userNames.set(room, String(params['userName']));
    this.answer(request.id, {
      sessionId: `session-${this.number}`,
      userId: this.userId,
      head: log.position(log.head),
      oldest: 1,
      members: this.cursors.size,
      read: 0,
      heartbeatMs: this.endpoint.heartbeatMs,
      messageBytesMax: this.endpoint.messageBytesMax,
      serverVersion: 'test',
      node: this.endpoint.name,
    });
    const fits = typeof last === 'string' ? log.fits(last) : undefined;
    if (typeof last === 'string' && fits === undefined) {
      this.notify('reset', { roomName: room, oldest: 1, head: log.position(log.head) });
    }
    let cursor: number;
    if (fits === undefined) cursor = Math.max(0, log.head - (limit ?? 100));
    else {
      cursor = fits;
      if (limit !== undefined && log.head - fits > limit) {
        cursor = log.head - limit;
        this.notify('skipped', { roomName: room, after: fits, before: cursor + 1 });
      }
    }
    this.cursors.set(room, cursor);
    if (this.held) return;
    this.deliver(room);
    this.notify('live', { roomName: room, sequence: log.head });
  }

  deliver(room: string): void {
    const log = this.endpoint.world.log(room);
    let cursor = this.cursors.get(room);
    if (cursor === undefined || !this.open) return;
    while (cursor < log.head) this.send(log.frames[cursor++]!);
    this.cursors.set(room, cursor);
  }

  say(request: Request): void {
    const { params, id } = request;
    const room = String(params['roomName']);
    if (!this.cursors.has(room)) return this.fail(id, -32010);
    const uuid = String(params['uuid']);
    const world = this.endpoint.world;
    const log = world.log(room);
    const known = log.find(uuid);
    const said: Said = {
      userId: this.userId,
      userName: this.userNames.get(room)!,
      uuid,
      text: String(params['text']),
      date: String(params['date']),
    };
    const sequence = known ?? log.append(said);
    this.answer(id, { _id: log.position(sequence), sequence, repeated: known !== undefined });
    if (known === undefined) world.deliver(room);
  }

  /** What an honest server does. */
  serve(request: Request): void {
    const room = String(request.params['roomName']);
    const log = this.endpoint.world.log(room);
    switch (request.method) {
      case 'joinRoom':
        return this.join(request);
      case 'textMessage':
        return this.say(request);
      case 'leaveRoom':
        this.cursors.delete(room);
        return this.answer(request.id);
      case 'history': {
        const { before, after, limit } = request.params as { before?: number; after?: number; limit?: number };
        const most = limit ?? 50;
        let from: number;
        let to: number;
        if (after !== undefined) [from, to] = [after, Math.min(log.head, after + most)];
        else {
          to = before === undefined ? log.head : Math.max(0, Math.min(log.head, before - 1));
          from = Math.max(0, to - most);
        }
        const more = after !== undefined ? to < log.head : from > 0;
        return this.answer(request.id, { messages: log.frames.slice(from, to), more });
      }
      case 'members':
        return this.answer(request.id, {
          members: [{ userId: this.userId, userName: this.userNames.get(room), read: 0 }],
          total: 1,
          next: null,
        });
      case 'rooms':
        return this.answer(request.id, {
          rooms: [...this.cursors.keys()].map((roomName) => ({ roomName, head: '', read: 0, members: 1 })),
        });
      default:
        return this.answer(request.id);
    }
  }
}

export function userIdOf(userKey: string): string {
  return `~${createHash('sha256').update(userKey).digest('base64url').slice(0, 22)}`;
}

/** A server process: it may be stopped and started again on the same port. */
export class Endpoint {
  readonly conns: Conn[] = [];
  heartbeatMs = 20_000;
  messageBytesMax = 1000;
  /** Instead of `serve`: true if the request was dealt with. */
  onRequest: (conn: Conn, request: Request) => boolean = () => false;
  onConn: (conn: Conn) => void = () => {};
  /** Upgrades are answered 503 while this is set. */
  closed = false;
  private server: WebSocketServer | undefined;
  private port = 0;

  constructor(
    readonly world: World,
    readonly name: string,
  ) {}

  get url(): string {
    return `ws://127.0.0.1:${this.port}/chat`;
  }

  get last(): Conn {
    const conn = this.conns[this.conns.length - 1];
    if (!conn) throw new Error('nobody has connected');
    return conn;
  }

  get open(): Conn[] {
    return this.conns.filter((conn) => conn.open);
  }

  async start(): Promise<void> {
    const server = new WebSocketServer({
      host: '127.0.0.1',
      port: this.port,
      handleProtocols: (protocols) => (protocols.has('tertulia.v2') ? 'tertulia.v2' : false),
      verifyClient: (_info, done) => (this.closed ? done(false, 503) : done(true)),
    });
    await new Promise<void>((resolve, reject) => server.once('listening', resolve).once('error', reject));
    this.port = (server.address() as AddressInfo).port;
    this.server = server;
    server.on('connection', (ws) => {
      const conn = new Conn(this, ws, this.conns.length + 1);
      this.conns.push(conn);
      ws.on('error', () => {});
      ws.on('close', (code) => {
        conn.open = false;
        conn.closeCode ??= code;
      });
      ws.on('message', (data) => {
        if (!conn.open) return; // a server that is gone reads nothing
        const { id, method, params } = JSON.parse(String(data)) as Request;
        const request = { id, method, params };
        conn.requests.push(request);
        if (!this.onRequest(conn, request)) conn.serve(request);
      });
      this.onConn(conn);
    });
  }

  /** kill -9. */
  async kill(): Promise<void> {
    for (const conn of this.open) conn.cut();
    const { server } = this;
    this.server = undefined;
    if (server) await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}

export class World {
  readonly logs = new Map<string, Log>();
  readonly endpoints: Endpoint[] = [];

  log(name: string): Log {
    let log = this.logs.get(name);
    if (!log) this.logs.set(name, (log = new Log(name)));
    return log;
  }

  async endpoint(name = `node${this.endpoints.length + 1}`): Promise<Endpoint> {
    const endpoint = new Endpoint(this, name);
    this.endpoints.push(endpoint);
    await endpoint.start();
    return endpoint;
  }

  /** Somebody else says something. */
  says(room: string, text: string): number {
    const log = this.log(room);
    const sequence = log.append({ userId: '~somebody', userName: 'Berta', uuid: `other-${room}-${log.head}`, text });
    this.deliver(room);
    return sequence;
  }

  deliver(room: string): void {
    for (const endpoint of this.endpoints) for (const conn of endpoint.open) if (!conn.held) conn.deliver(room);
  }

  async end(): Promise<void> {
    for (const endpoint of this.endpoints) await endpoint.kill();
  }
}

/** Timers that fire when the test says so, in order of their time. The clock is theirs. */
export class ManualTimers implements Timers {
  nowMs = 0;
  private next = 1;
  private readonly waiting = new Map<number, { due: number; callback: () => void }>();

  setTimeout(callback: () => void, ms: number): number {
    this.waiting.set(this.next, { due: this.nowMs + ms, callback });
    return this.next++;
  }

  clearTimeout(handle: number): void {
    this.waiting.delete(handle);
  }

  /** Waits of the timers that are set, ascending. */
  get waits(): number[] {
    return [...this.waiting.values()].map((each) => each.due - this.nowMs).sort((a, b) => a - b);
  }

  advance(ms: number): void {
    const end = this.nowMs + ms;
    for (;;) {
      let first: number | undefined;
      for (const [id, each] of this.waiting) {
        if (each.due <= end && (first === undefined || each.due < this.waiting.get(first)!.due)) first = id;
      }
      if (first === undefined) break;
      const { due, callback } = this.waiting.get(first)!;
      this.waiting.delete(first);
      this.nowMs = Math.max(this.nowMs, due);
      callback();
    }
    this.nowMs = end;
  }
}

/** How long a test waits for something before it fails. */
export const deadlineDefaultMs = Number(process.env['TERTULIA_DEADLINE_MS'] ?? 60_000);

/** Waits until it is so; fails after a while, saying what was waited for. */
export async function until(what: string, condition: () => boolean, deadlineMs = deadlineDefaultMs): Promise<void> {
  const end = Date.now() + deadlineMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** A random generator with a seed: the same seed, the same numbers. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
