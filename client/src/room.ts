// Room is a room as its user holds it: joins, says, reads. Made by `client.room(name)`.
import { utf8Length, wellFormed } from './bytes.js';
import type { Connection, RoomDoor } from './connection.js';
import { Emitter } from './emitter.js';
import { TertuliaError } from './errors.js';
import { RoomLog } from './log.js';
import { Outbox, outcomeOf, type Entry } from './outbox.js';
import type {
  Held,
  History,
  HistoryOptions,
  Joined,
  JoinOptions,
  Members,
  Message,
  Pending,
  RoomEvents,
  RoomPhase,
  RoomState,
  SendOptions,
  Sent,
  Timers,
} from './types.js';
import { encodeRequest, numberOf, readMessage, stringOf, validPosition, type Params } from './wire.js';

interface Deferred<T> {
  resolve(value: T): void;
  reject(error: TertuliaError): void;
}

/** What a room needs of its client. @internal */
export interface RoomHost {
  readonly connection: Connection;
  readonly timers: Timers;
  now(): number;
  /** Takes this key for the client's user, or makes one. Throws if it is another user's. */
  adopt(userKey: string | undefined): string;
  /** The server has made the key itself. */
  adoptMade(userKey: string): void;
  userKey(): string;
  userId(): string | undefined;
  makeUuid(): string;
}

const messageBytesDefault = 64 << 10;
const nameBytesMax = 256;
const typingEveryMs = 3000;
const readEveryMs = 1000;

export class Room extends Emitter<RoomEvents> {
  readonly name: string;
  private readonly door: RoomDoor;
  private readonly log: RoomLog;
  private readonly outbox: Outbox;
  private readonly promises = new Map<string, Deferred<Sent>>();
  private readonly drained = new Set<() => void>();
  private options: JoinOptions | undefined;
  private joining: Deferred<Joined> | undefined;
  private messageBytesMax = messageBytesDefault;
  private current: RoomState = { phase: 'idle' };
  private typedAt = -Infinity;
  private readWanted = 0;
  private readBusy = false;

  /** @internal */
  constructor(
    name: string,
    private readonly host: RoomHost,
    queueMessagesMax: number,
    queueBytesMax: number,
  ) {
    super();
    this.name = name;
    this.log = new RoomLog(name);
    this.outbox = new Outbox(queueMessagesMax, queueBytesMax);
    this.door = {
      log: this.log,
      outbox: this.outbox,
      joinParams: (admitted) => this.joinParams(admitted),
      onJoined: (answer) => this.onJoined(answer),
      onMessage: (message) => this.emit('message', message),
      onLive: (sequence) => this.emit('live', { sequence }),
      onReset: (oldest, head) => {
        this.readWanted = 0;
        this.emit('reset', { oldest, head });
      },
      onSkipped: (after, before) => this.emit('skipped', { after, before }),
      onNotice: (method, params) => this.onNotice(method, params),
      onSent: (sent) => this.onSent(sent),
      onFailed: (uuid, text, error) => this.onFailed(uuid, text, error),
      onGivenUp: (error) => this.onGivenUp(error),
      onError: (error) => this.emit('error', error),
      onPhase: (phase, wait) => this.setState(phase, wait),
    };
  }

  get state(): RoomState {
    return this.current;
  }

  /** The contiguous range of the log that this client has seen and checked; null while it knows no place in it. */
  get held(): Held | null {
    return this.log.held;
  }

  /** What was said and is not acked, in the order said. */
  get pending(): Pending[] {
    return this.outbox.all().map(({ uuid, text, date, written }) => ({ uuid, text, date, sent: written > 0 }));
  }

  /**
   * Joins, and stays joined over every reconnection until `leave`. Resolves when the server has let us in for the first
   * time; the messages follow as events. Waits for as long as there is no connection, and while the server asks to try
   * again. Rejects, and the room is not joined: `nameTaken`, `notAuthorised`, `tooMany`, `invalid`, `left`, `closed`,
   * `serverRefuses`.
   */
  join(options: JoinOptions): Promise<Joined> {
    return handled(
      new Promise((resolve, reject) => {
        const { lastMessageId } = options;
        const { phase } = this.host.connection.state;
        if (phase === 'closed' || phase === 'refused') throw new TertuliaError('closed', 'the client is closed');
        if (this.options) throw new TertuliaError('invalid', `the room ${this.name} is joined; leave it first`);
        for (const each of [this.name, options.userName]) {
          // The server answers other names that it does not take; these it could not even read.
          if (wellFormed(each) !== each || each === '' || utf8Length(each) > nameBytesMax) {
            throw new TertuliaError('invalid', `${JSON.stringify(each)} is no name`);
          }
        }
        if (typeof lastMessageId === 'string' && !validPosition(lastMessageId)) {
          throw new TertuliaError('invalid', `${JSON.stringify(lastMessageId)} is no position`);
        }
        this.host.adopt(options.userKey);
        this.log.drop();
        if (typeof lastMessageId === 'string') this.log.startAfter(lastMessageId);
        this.readWanted = 0;
        this.options = { ...options };
        this.joining = { resolve, reject };
        this.host.connection.addRoom(this.name, this.door);
      }),
    );
  }

  /**
   * Says a text. It gets its place behind everything said before, is kept over reconnections, and sent again, as the same
   * message, until the server has answered. Resolves when it is durably in the log. Rejects if it never will be
   * (`outcome` is `none`), or nobody can tell (`unknown`). May be called as soon as `join` was. A rejection that nobody
   * listens to is not reported by the platform: there is the event `failed`.
   */
  send(text: string, options: SendOptions = {}): Promise<Sent> {
    const uuid = options.uuid ?? this.host.makeUuid();
    return handled(
      new Promise((resolve, reject) => {
        const refuse = (code: 'notMember' | 'tooLarge' | 'queueFull' | 'invalid', why: string): void =>
          reject(new TertuliaError(code, why, { uuid, outcome: 'none' }));
        if (!this.options) return refuse('notMember', `the room ${this.name} is not joined`);
        if (!/^[A-Za-z0-9_-]{1,64}$/.test(uuid)) return refuse('invalid', 'a uuid is 1 to 64 of [A-Za-z0-9_-]');
        if (this.outbox.has(uuid)) return refuse('invalid', `a message with the uuid ${uuid} waits already`);
        if (text === '') return refuse('invalid', 'a text is not empty');
        const clean = wellFormed(text);
        const date = wellFormed(options.date ?? new Date().toISOString());
        if (utf8Length(date) > 64) return refuse('invalid', 'a date has at most 64 bytes');
        const bytes = this.frameBytes(clean, uuid, date);
        if (bytes > this.messageBytesMax) {
          return refuse('tooLarge', `this makes a frame of ${bytes} bytes; the server takes ${this.messageBytesMax}`);
        }
        if (!this.outbox.push(uuid, clean, date, utf8Length(clean))) {
          return refuse('queueFull', `${this.outbox.count} messages wait in the room ${this.name} already`);
        }
        this.promises.set(uuid, { resolve, reject });
        this.host.connection.pump();
      }),
    );
  }

  /** Resolves when nothing is pending, or after `timeoutMs`; with what is pending then. */
  flush(timeoutMs: number): Promise<Pending[]> {
    if (this.outbox.count === 0) return Promise.resolve([]);
    return new Promise((resolve) => {
      const done = (): void => {
        this.drained.delete(done);
        this.host.timers.clearTimeout(timer as never);
        resolve(this.pending);
      };
      const timer = this.host.timers.setTimeout(done, timeoutMs);
      this.drained.add(done);
    });
  }

  /**
   * Older, newer or the newest messages, checked. A page that ends directly before `held` extends it downwards. Rejects
   * with `chain` if what came does not hold together, `invalid`, `left`, `closed`. Waits for a connection.
   */
  async history(options: HistoryOptions = {}): Promise<History> {
    const params: Params = { roomName: this.name };
    for (const key of ['before', 'after', 'limit'] as const) if (options[key] !== undefined) params[key] = options[key];
    const result = await this.call('history', params);
    const messages: Message[] = [];
    for (const each of Array.isArray(result['messages']) ? result['messages'] : []) {
      const message = readMessage(each);
      if (!message) throw new TertuliaError('protocol', 'the server sent a history that cannot be understood');
      message.own = message.userId === this.host.userId();
      messages.push(message);
    }
    if (!this.log.page(messages)) throw new TertuliaError('chain', `the history of ${this.name} does not hold together`);
    return { messages, more: result['more'] === true };
  }

  /** Who is here, a page at a time; `after` is the last page's `next`. Rejects as `history` does. */
  async members(options: { after?: string; limit?: number } = {}): Promise<Members> {
    const params: Params = { roomName: this.name };
    for (const key of ['after', 'limit'] as const) if (options[key] !== undefined) params[key] = options[key];
    const result = await this.call('members', params);
    const members = (Array.isArray(result['members']) ? (result['members'] as Params[]) : []).map((each) => ({
      userId: stringOf(each, 'userId'),
      userName: stringOf(each, 'userName'),
      read: numberOf(each, 'read'),
    }));
    return { members, total: numberOf(result, 'total', members.length), next: stringOf(result, 'next') || null };
  }

  /** Sets the own read marker. It moves only forwards; of many calls a second only the last is told. */
  read(sequence: number): void {
    if (!this.options || sequence <= this.readWanted) return;
    this.readWanted = sequence;
    if (!this.readBusy) this.tellRead();
  }

  /** Tells the others that this user is typing. Call it at every key: it is told at most every 3 s. */
  typing(): void {
    const now = this.host.now();
    if (now - this.typedAt < typingEveryMs) return;
    this.typedAt = now;
    this.host.connection.mention(this.name, 'typing', { roomName: this.name });
  }

  /**
   * Leaves: the name is free at once. What is pending fails with `left` (`flush` first). Resolves when the server has taken
   * note, or there is no connection.
   */
  leave(): Promise<void> {
    if (!this.options) return Promise.resolve();
    const error = new TertuliaError('left', `the room ${this.name} was left`);
    const done = this.host.connection.removeRoom(this.name, error);
    this.over(error, undefined);
    return done;
  }

  // ---- what the connection tells

  private joinParams(admitted: boolean): Params {
    const { userName, limit, catchUpLimit } = this.options!;
    const params: Params = { roomName: this.name, userName, userKey: this.host.userKey() };
    const { held } = this.log;
    if (held) params['lastMessageId'] = held.position;
    const most = admitted && held ? catchUpLimit : limit;
    if (most !== undefined) params['limit'] = most;
    return params;
  }

  private onJoined(answer: Params): void {
    const made = stringOf(answer, 'userKey');
    if (made) this.host.adoptMade(made);
    this.messageBytesMax = numberOf(answer, 'messageBytesMax', messageBytesDefault);
    // Said before the limit was known, or under another one: a frame that is too large is answered without its id.
    const tooLarge = (entry: Entry): boolean => this.frameBytes(entry.text, entry.uuid, entry.date) > this.messageBytesMax;
    for (const entry of this.outbox.take(tooLarge)) {
      this.failPending(entry, new TertuliaError('tooLarge', `the server takes frames of ${this.messageBytesMax} bytes`));
    }
    this.joining?.resolve({
      userId: stringOf(answer, 'userId'),
      userKey: this.host.userKey(),
      head: stringOf(answer, 'head'),
      oldest: numberOf(answer, 'oldest', 1),
      membersCount: numberOf(answer, 'members'),
      read: numberOf(answer, 'read'),
      messageBytesMax: this.messageBytesMax,
      serverVersion: stringOf(answer, 'serverVersion'),
      node: stringOf(answer, 'node'),
    });
    this.joining = undefined;
  }

  private onNotice(method: string, params: Params): void {
    const userId = stringOf(params, 'userId');
    const userName = stringOf(params, 'userName');
    switch (method) {
      case 'userJoined':
        return this.emit('joined', { userId, userName });
      case 'userLeft':
        return this.emit('left', { userId, userName });
      case 'typing':
        return this.emit('typing', { userId, userName });
      case 'read':
        return this.emit('read', { userId, sequence: numberOf(params, 'sequence') });
      case 'membersChanged':
        return this.emit('membersChanged', { members: numberOf(params, 'members') });
    }
  }

  private onSent(sent: Sent): void {
    this.promises.get(sent.uuid)?.resolve(sent);
    this.promises.delete(sent.uuid);
    this.emit('sent', sent);
    this.checkDrained();
  }

  private onFailed(uuid: string, text: string, error: TertuliaError): void {
    this.promises.get(uuid)?.reject(error);
    this.promises.delete(uuid);
    this.emit('failed', { uuid, text, outcome: error.outcome ?? 'none', error });
    this.checkDrained();
  }

  private checkDrained(): void {
    if (this.outbox.count === 0) for (const done of [...this.drained]) done();
  }

  private onGivenUp(error: TertuliaError): void {
    const told = this.joining !== undefined;
    this.over(error, error);
    if (!told && error.code !== 'closed') this.emit('error', error);
  }

  // The room is not joined any more: everything that waits is told.
  private over(error: TertuliaError, shown: TertuliaError | undefined): void {
    this.options = undefined;
    this.joining?.reject(error);
    this.joining = undefined;
    for (const entry of this.outbox.take(() => true)) this.failPending(entry, error);
    this.checkDrained();
    this.current = { phase: 'idle' };
    if (shown) this.current.error = shown;
    this.emit('state', this.current);
  }

  private failPending(entry: Entry, error: TertuliaError): void {
    const outcome = outcomeOf(entry);
    const details = { uuid: entry.uuid, outcome, ...(error.closeCode === undefined ? {} : { closeCode: error.closeCode }) };
    this.onFailed(entry.uuid, entry.text, new TertuliaError(error.code, error.message, details));
  }

  private setState(phase: RoomPhase, wait: { ms: number; error: TertuliaError | undefined } | undefined): void {
    const waits = phase === 'waiting' ? wait : undefined;
    if (phase === this.current.phase && waits?.ms === this.current.retryInMs) return;
    this.current = { phase };
    if (waits) {
      this.current.retryInMs = waits.ms;
      if (waits.error) this.current.error = waits.error;
    }
    this.emit('state', this.current);
  }

  // ----

  // What the server measures is the whole frame, with whatever escapes JSON needs. The largest id stands for all.
  private frameBytes(text: string, uuid: string, date: string): number {
    return utf8Length(encodeRequest(Number.MAX_SAFE_INTEGER, 'textMessage', { roomName: this.name, text, uuid, date }));
  }

  private call(method: string, params: Params): Promise<Params> {
    if (!this.options) return Promise.reject(new TertuliaError('notMember', `the room ${this.name} is not joined`));
    return this.host.connection.call(this.name, method, params);
  }

  private tellRead(): void {
    const told = this.readWanted;
    this.readBusy = true;
    const again = (): void => {
      this.readBusy = false;
      if (this.options && this.readWanted > told) this.tellRead();
    };
    // A marker that is refused is not worth a word: the next one tells all.
    const later = (): void => void this.host.timers.setTimeout(again, readEveryMs);
    this.call('read', { roomName: this.name, sequence: told }).then(later, later);
  }
}

/** A promise whose rejection is not the platform's business if nobody listens. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
