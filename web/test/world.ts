// A small world for the tests of the page: messages out of numbers, and a room that says what a test wants.
import type { History, Held, Joined, JoinOptions, Members, Message, RoomEvents, RoomPhase, RoomState, Sent } from 'tertulia-client';
import { TertuliaError } from 'tertulia-client';
import type { RoomLike } from '../src/conversation.js';

export const range = (from: number, to: number): number[] => Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
export const sequences = (messages: readonly Message[]): number[] => messages.map(({ sequence }) => sequence);

export const own = '~me';
const chain = 'c'.repeat(16);

export function message(sequence: number, change: Partial<Message> = {}): Message {
  const userId = change.userId ?? '~a';
  return {
    kind: 'text',
    method: 'textMessage',
    roomName: 'sala',
    sequence,
    position: `${sequence}-${chain}`,
    chain,
    uuid: `u${sequence}`,
    userId,
    userName: userId.slice(1),
    text: `text ${sequence}`,
    date: '',
    sentAt: new Date(2026, 0, 1, 12).getTime() + sequence,
    own: userId === own,
    ...change,
  };
}

/** A room with a log of `head` messages; what is asked for is answered when the test says `answer()`. */
export class FakeRoom implements RoomLike {
  name = 'sala';
  held: Held | null = null;
  state: RoomState = { phase: 'idle' };
  head = 0;
  joins: JoinOptions[] = [];
  sent: { text: string; uuid: string }[] = [];
  left = 0;
  membersNow: Members = { members: [], total: 0, next: null };
  membersRead = 0;
  private readonly rejects = new Map<string, (error: TertuliaError) => void>();
  private asked: (() => void)[] = [];
  private flushed: (() => void)[] = [];
  private readonly listeners = new Map<string, ((event: never) => void)[]>();

  on<K extends keyof RoomEvents>(name: K, listener: (event: RoomEvents[K]) => void): () => void {
    const all = this.listeners.get(name) ?? [];
    this.listeners.set(name, [...all, listener as (event: never) => void]);
    return () => this.listeners.set(name, (this.listeners.get(name) ?? []).filter((each) => each !== listener));
  }

  emit<K extends keyof RoomEvents>(name: K, event: RoomEvents[K]): void {
    for (const listener of this.listeners.get(name) ?? []) listener(event as never);
  }

  get listenersCount(): number {
    return [...this.listeners.values()].flat().length;
  }

  phase(phase: RoomPhase): void {
    this.state = { phase };
    this.emit('state', this.state);
  }

  /** The log grows, and is delivered. */
  deliver(...messages: Message[]): void {
    for (const each of messages) {
      this.held = { from: this.held?.from ?? each.sequence, to: each.sequence, chain, position: each.position };
      this.head = Math.max(this.head, each.sequence);
      this.emit('message', each);
    }
  }

  live(): void {
    this.phase('live');
    this.emit('live', { sequence: this.held?.to ?? 0 });
  }

  join(options: JoinOptions): Promise<Joined> {
    this.joins.push(options);
    this.phase('joining');
    if (options.lastMessageId) {
      const to = parseInt(options.lastMessageId, 10);
      this.held = { from: to + 1, to, chain, position: options.lastMessageId };
    }
    return Promise.resolve({
      userId: own, userKey: 'k'.repeat(43), head: `${this.head}-${chain}`, oldest: 1, membersCount: 1, read: 0,
      messageBytesMax: 65536, serverVersion: '', node: '',
    });
  }

  send(text: string, options: { uuid?: string } = {}): Promise<Sent> {
    const uuid = options.uuid ?? '';
    this.sent.push({ text, uuid });
    return new Promise((_, reject) => this.rejects.set(uuid, reject));
  }

  history(options: { before?: number; after?: number; limit?: number } = {}): Promise<History> {
    const limit = options.limit ?? 50;
    return new Promise((resolve) =>
      this.asked.push(() => {
        let wanted = range(1, this.head);
        let more: boolean;
        if (options.after !== undefined) {
          const after = options.after;
          wanted = wanted.filter((sequence) => sequence > after);
          more = wanted.length > limit;
          wanted = wanted.slice(0, limit);
        } else {
          const before = options.before ?? Infinity;
          wanted = wanted.filter((sequence) => sequence < before);
          more = wanted.length > limit;
          wanted = wanted.slice(-limit);
        }
        resolve({ messages: wanted.map((sequence) => message(sequence)), more });
      }),
    );
  }

  members(): Promise<Members> {
    this.membersRead++;
    return Promise.resolve(this.membersNow);
  }

  leave(): Promise<void> {
    this.left++;
    for (const { uuid, text } of this.sent) {
      const error = new TertuliaError('left', 'left', { uuid, outcome: 'none' });
      this.rejects.get(uuid)?.(error);
      this.emit('failed', { uuid, text, outcome: 'none', error });
    }
    this.sent = [];
    this.state = { phase: 'idle' };
    this.emit('state', this.state);
    return Promise.resolve();
  }

  flush(): Promise<never[]> {
    if (this.sent.length === 0) return Promise.resolve([]);
    return new Promise((resolve) => this.flushed.push(() => resolve([])));
  }

  /** All that was said is in the log. */
  ackAll(): void {
    for (const { uuid } of this.sent.splice(0)) this.emit('sent', { uuid, position: '', sequence: ++this.head, repeated: false });
    for (const done of this.flushed.splice(0)) done();
  }

  /** Answers what was asked so far; returns when the asker has heard. */
  async answer(): Promise<void> {
    for (const answer of this.asked.splice(0)) answer();
    await turns();
  }

  get askedCount(): number {
    return this.asked.length;
  }
}

/** Lets all that is ready to go on go on. */
export async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}
