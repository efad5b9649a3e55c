// Conversation is one room as the page shows it: it listens to the library's room and keeps the stretch of the log, what is
// on its way out, and who is here. It touches no document; `changed` says that something is to be drawn anew. Ends with
// `end`, after which nothing that still comes in changes anything.
import type { Joined, Message, Room, TertuliaError } from 'tertulia-client';
import { Outbound } from './outgoing.js';
import { People, peopleMost } from './people.js';
import { Timeline, type Note } from './timeline.js';
import { cameIn, wentBack, wentOut, whyNotSent } from './words.js';

/** What it needs of a room of the library. */
export type RoomLike = Pick<Room, 'name' | 'held' | 'state' | 'on' | 'join' | 'send' | 'history' | 'members' | 'leave' | 'flush'>;

export interface Watcher {
  changed(): void;
  /** The room waits so long before it tries again. */
  waits(retryInMs: number): void;
  /** Somebody else said something new: for who does not see it. */
  heard(message: Message): void;
  told(text: string): void;
}

const messageBytesDefault = 64 << 10;
// What a frame holds besides the room and the text: at most so much.
const envelopeBytesMost = 256;
const pageMessages = 60;
const joinMessages = 100;
const catchUpMessages = 1000;
const notesMost = 30;
const peopleEveryMs = 2000;
// A little more than the server keeps a name for who was cut off.
const backMs = 15_000;

export class Conversation {
  readonly timeline = new Timeline();
  readonly outbound = new Outbound();
  readonly people = new People();
  notes: Note[] = [];
  userName = '';
  joined: Joined | undefined;
  /** Messages behind this sequence are new to the reader; null: no line is drawn. */
  lineAfter: number | null = null;
  /** Said by others since the reader was at the end and looking. */
  unseen = 0;
  /** Set by the view: is the reader at the end, and does the page show? */
  following = true;
  looking = true;
  /** A page is being read. */
  reading: 'no' | 'older' | 'newer' = 'no';
  readFailed = false;
  wentBack = false;
  /** Everything up to the first join's head is here: what comes now is new. */
  live = false;

  private epoch = 0;
  private ended = false;
  private leaving = false;
  private notesCount = 0;
  /** Who was here when the connection was lost. */
  private here = new Set<string>();
  private isCutOff = false;
  private backUntil = -Infinity;
  private peopleTimer: ReturnType<typeof setTimeout> | undefined;
  private peopleReadAt = -Infinity;
  private readonly off: (() => void)[] = [];

  constructor(
    readonly room: RoomLike,
    private readonly watcher: Watcher,
    private readonly makeUuid: () => string,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.off.push(
      room.on('message', (message) => this.onMessage(message)),
      room.on('live', () => this.onLive()),
      room.on('reset', () => this.onReset()),
      room.on('skipped', () => this.onSkipped()),
      room.on('joined', ({ userId, userName }) => this.onJoined(userId, userName)),
      room.on('left', ({ userId, userName }) => this.onLeft(userId, userName)),
      room.on('membersChanged', ({ members }) => {
        this.people.total = members;
        this.readPeople();
        this.watcher.changed();
      }),
      room.on('sent', ({ uuid, sequence }) => {
        this.outbound.acked(uuid, sequence, this.seen);
        this.watcher.changed();
      }),
      room.on('failed', ({ uuid, error }) => {
        this.outbound.failed(uuid, whyNotSent(error));
        this.watcher.changed();
      }),
      room.on('state', ({ phase, retryInMs }) => {
        if (phase === 'offline' && this.live) this.cutOff();
        if (retryInMs !== undefined) this.watcher.waits(retryInMs);
        this.watcher.changed();
      }),
    );
  }

  /** Does the library want this room joined? Also while it is still being joined. */
  get isIn(): boolean {
    return this.room.state.phase !== 'idle';
  }

  /** Where to go on after stepping out: the end of what is shown. */
  get heldPosition(): string | undefined {
    return this.timeline.messages.length > 0 ? this.room.held?.position : undefined;
  }

  private get seen(): number {
    return this.room.held?.to ?? 0;
  }

  async join(userName: string, userKey: string | undefined, position: string | null): Promise<Joined> {
    this.userName = userName;
    this.live = false;
    this.lineAfter = position === null ? null : Number(position.slice(0, position.indexOf('-')));
    // What waited while the name was changed goes out first, in its order.
    const waiting = this.outbound.waiting;
    const joining = this.room.join({
      userName,
      ...(userKey === undefined ? {} : { userKey }),
      lastMessageId: position,
      limit: joinMessages,
      catchUpLimit: catchUpMessages,
    });
    for (const { uuid, text, date } of waiting) void this.room.send(text, { uuid, date }).catch(() => {});
    this.joined = await joining;
    return this.joined;
  }

  // ---- what the reader does

  send(text: string): void {
    const date = new Date().toISOString();
    const { uuid } = this.outbound.add(this.makeUuid(), text, date);
    this.lineAfter = null;
    // What becomes of it is told by events.
    void this.room.send(text, { uuid, date }).catch((error: TertuliaError) => this.notQueued(uuid, error));
    this.watcher.changed();
  }

  /** How many bytes this text is too long by, for a frame that the server takes; 0 if it is not. */
  tooLongBy(text: string): number {
    const frame = new TextEncoder().encode(JSON.stringify({ roomName: this.room.name, text })).length + envelopeBytesMost;
    return Math.max(0, frame - this.messageBytesMax);
  }

  get messageBytesMax(): number {
    return this.joined?.messageBytesMax ?? messageBytesDefault;
  }

  retry(uuid: string): void {
    const entry = this.outbound.again(uuid);
    if (!entry) return;
    void this.room.send(entry.text, { uuid, date: entry.date }).catch((error: TertuliaError) => this.notQueued(uuid, error));
    this.watcher.changed();
  }

  remove(uuid: string): void {
    this.outbound.remove(uuid);
    this.watcher.changed();
  }

  // What the library refuses to queue is told by the promise alone; all else by `failed`, in its place among the events.
  private notQueued(uuid: string, error: TertuliaError): void {
    if (this.ended || !['invalid', 'notMember', 'queueFull', 'tooLarge'].includes(error.code)) return;
    this.outbound.failed(uuid, whyNotSent(error));
    this.watcher.changed();
  }

  /** Reads a page of what was said before. */
  older(): Promise<void> {
    const { first } = this.timeline;
    const head = this.seen;
    const before = first?.sequence ?? head + 1;
    return this.read('older', { before, limit: pageMessages }, (messages, more) => {
      this.timeline.prepend(messages, more, head);
    });
  }

  /** Reads a page of what comes next, after one has gone so far up that the newest was let go. */
  newer(): Promise<void> {
    const { last, atEnd } = this.timeline;
    if (!last || atEnd) return Promise.resolve();
    return this.read('newer', { after: last.sequence, limit: pageMessages }, (messages) => {
      this.timeline.extend(messages, this.seen);
    });
  }

  /** Goes to the newest, wherever one was. */
  async toEnd(): Promise<void> {
    if (this.timeline.atEnd) return;
    // What is just being read is not wanted any more.
    this.epoch++;
    this.reading = 'no';
    await this.read('newer', { limit: pageMessages }, (messages, more) => {
      this.timeline.replace(messages, more, this.seen);
    });
    // What was said meanwhile.
    while (!this.ended && !this.timeline.atEnd && !this.readFailed && this.reading === 'no') await this.newer();
  }

  private async read(
    direction: 'older' | 'newer',
    page: { before?: number; after?: number; limit: number },
    take: (messages: Message[], more: boolean) => void,
  ): Promise<void> {
    if (this.reading !== 'no' || this.ended) return;
    const { epoch } = this;
    this.reading = direction;
    this.readFailed = false;
    this.watcher.changed();
    try {
      const { messages, more } = await this.room.history(page);
      if (epoch === this.epoch && !this.ended) take(messages, more);
    } catch {
      if (epoch === this.epoch) this.readFailed = true;
    }
    if (epoch === this.epoch) this.reading = 'no';
    this.lookedAt();
    this.watcher.changed();
  }

  /** The view says whether the reader is at the end of what is shown. */
  setFollowing(following: boolean): void {
    this.following = following;
    this.lookedAt();
  }

  /** The reader looks away, or back: what comes meanwhile is new. */
  setLooking(looking: boolean): void {
    if (this.looking && !looking && this.following && this.timeline.atEnd && this.seen > 0) this.lineAfter = this.seen;
    this.looking = looking;
    if (looking) this.dropEmptyLine();
    this.lookedAt();
  }

  /** Up to where the reader has seen the room; undefined while there is something not seen. */
  get seenPosition(): string | undefined {
    return this.live && this.looking && this.following && this.timeline.atEnd ? this.room.held?.position : undefined;
  }

  private lookedAt(): void {
    if (this.following && this.looking && this.timeline.atEnd) this.unseen = 0;
  }

  // Nothing new came: what comes from now on comes under the reader's eyes.
  private dropEmptyLine(): void {
    if (this.lineAfter !== null && this.seen <= this.lineAfter) this.lineAfter = null;
  }

  // ---- what the room tells

  private onMessage(message: Message): void {
    this.timeline.append(message, this.following);
    if (message.own) this.outbound.delivered(message.uuid);
    else if (this.live || this.lineAfter !== null) {
      if (!this.following || !this.looking) this.unseen++;
      if (this.live) this.watcher.heard(message);
    }
    this.watcher.changed();
  }

  private onLive(): void {
    this.live = true;
    if (this.looking) this.dropEmptyLine();
    this.outbound.settle(this.seen);
    if (this.isCutOff) this.backUntil = this.now() + backMs;
    this.isCutOff = false;
    this.peopleReadAt = -Infinity;
    this.readPeople();
    // After coming back there may be nothing new; then what was said before is still worth a look.
    const { first, messages } = this.timeline;
    if (messages.length < pageMessages / 2 && (first?.sequence ?? this.seen + 1) > 1) void this.older();
    this.watcher.changed();
  }

  private onReset(): void {
    this.forget();
    this.lineAfter = null;
    this.wentBack = true;
    this.watcher.told(wentBack);
    this.watcher.changed();
  }

  // What was left out can be read upwards from what follows.
  private onSkipped(): void {
    this.forget();
    this.watcher.changed();
  }

  private forget(): void {
    this.epoch++;
    this.reading = 'no';
    this.timeline.clear();
    this.notes = [];
    this.unseen = 0;
  }

  private cutOff(): void {
    if (this.isCutOff) return;
    this.isCutOff = true;
    // Cut off again soon after coming back: who was not back yet still counts.
    const earlier = this.now() < this.backUntil ? this.here : [];
    this.here = new Set([...earlier, ...this.people.userIds]);
  }

  // A server that has restarted does not know who was here: for a while after we are back, they all seem to come in.
  private onJoined(userId: string, userName: string): void {
    const isBack = this.people.has(userId) || (this.here.has(userId) && this.now() < this.backUntil);
    this.people.joined(userId, userName);
    if (isBack) this.watcher.changed();
    else this.note(cameIn(userName));
  }

  private onLeft(userId: string, userName: string): void {
    this.people.left(userId);
    this.note(wentOut(userName));
  }

  private note(text: string): void {
    if (this.timeline.atEnd) {
      const after = this.timeline.last?.sequence ?? 0;
      this.notes = [...this.notes, { key: `note-${this.notesCount++}`, after, text }].slice(-notesMost);
    }
    this.watcher.changed();
  }

  // At most once in a while, however often it is asked for.
  private readPeople(): void {
    if (this.peopleTimer !== undefined || this.ended) return;
    const wait = Math.max(0, this.peopleReadAt + peopleEveryMs - this.now());
    this.peopleTimer = setTimeout(() => {
      this.peopleTimer = undefined;
      this.peopleReadAt = this.now();
      this.room.members({ limit: peopleMost }).then(
        ({ members, total }) => {
          if (this.ended) return;
          this.people.read(members, total);
          this.watcher.changed();
        },
        () => {}, // the next coming or going asks again
      );
    }, wait);
  }

  /** Leaves once everything said is sent, or `patienceMs` are over. False if the reader came back before. */
  async leave(patienceMs: number): Promise<boolean> {
    this.leaving = true;
    await this.room.flush(patienceMs);
    if (!this.leaving) return false;
    this.end();
    await this.room.leave();
    return true;
  }

  /** The reader came back. */
  stay(): void {
    this.leaving = false;
  }

  /** Leaves in order to come in under another name: what waits is kept and goes out then. */
  async stepOut(): Promise<void> {
    const waiting = this.outbound.waiting;
    const left = this.room.leave();
    for (const { uuid } of waiting) this.outbound.again(uuid);
    this.joined = undefined;
    this.watcher.changed();
    await left;
  }

  end(): void {
    this.ended = true;
    clearTimeout(this.peopleTimer);
    for (const off of this.off) off();
  }
}
