// Outbox is a room's outgoing queue: messages in the order they were said, each with its uuid, until acked or refused.
//
// Order: on any connection a message is sent only after everything older and unacked of the room has been sent on that
// connection. So on each connection what was sent is a prefix of the queue, and `next(link)` is what stands behind it.
// Pure. Memory: bounded by count and bytes; nothing is queued beyond.
import type { Outcome } from './errors.js';

export interface Entry {
  readonly uuid: string;
  readonly text: string;
  readonly date: string;
  readonly bytes: number;
  /** Sends that may still be answered: request id → link. */
  readonly sends: Map<number, number>;
  /** How often it was written to a connection. */
  written: number;
  /** A send of it went down with its connection: what became of that one will never be told. */
  lost: boolean;
}

/** What an error answer means: the message is refused; another answer decides; or nothing waits for this answer. */
export type Refusal = { kind: 'refused'; entry: Entry; outcome: Outcome } | { kind: 'undecided' } | { kind: 'stale' };

export class Outbox {
  private readonly entries = new Map<string, Entry>();
  private bytes = 0;

  constructor(
    private readonly messagesMax: number,
    private readonly bytesMax: number,
  ) {}

  get count(): number {
    return this.entries.size;
  }

  all(): Entry[] {
    return [...this.entries.values()];
  }

  has(uuid: string): boolean {
    return this.entries.has(uuid);
  }

  /** False, and nothing is queued, if the queue is full. REQUIRES: the uuid is not queued. */
  push(uuid: string, text: string, date: string, bytes: number): boolean {
    if (this.entries.size >= this.messagesMax || this.bytes + bytes > this.bytesMax) return false;
    this.entries.set(uuid, { uuid, text, date, bytes, sends: new Map(), written: 0, lost: false });
    this.bytes += bytes;
    return true;
  }

  /** The oldest message that was not sent on this link. Looks only past what is unanswered there: a window's worth. */
  next(link: number): Entry | undefined {
    for (const entry of this.entries.values()) {
      let sent = false;
      for (const onLink of entry.sends.values()) sent ||= onLink === link;
      if (!sent) return entry;
    }
    return undefined;
  }

  sent(entry: Entry, request: number, link: number): void {
    entry.sends.set(request, link);
    entry.written++;
  }

  /** The message is in the log. Undefined if it was not waiting (any more). */
  acked(uuid: string): Entry | undefined {
    const entry = this.entries.get(uuid);
    if (entry) this.remove(entry);
    return entry;
  }

  /** This send certainly had no effect, for what the message is. */
  refused(uuid: string, request: number): Refusal {
    const entry = this.entries.get(uuid);
    if (!entry?.sends.delete(request)) return { kind: 'stale' };
    if (entry.sends.size > 0) return { kind: 'undecided' };
    this.remove(entry);
    return { kind: 'refused', entry, outcome: entry.lost ? 'unknown' : 'none' };
  }

  /** This send certainly had no effect, for what the connection is: the message goes on waiting. False: stale. */
  returned(uuid: string, request: number): boolean {
    return this.entries.get(uuid)?.sends.delete(request) ?? false;
  }

  /** The answers to what was sent on this link will not come, or not count: should it be used again, all is sent again. */
  forget(link: number): void {
    for (const entry of this.entries.values()) {
      for (const [request, onLink] of entry.sends) {
        if (onLink !== link) continue;
        entry.sends.delete(request);
        entry.lost = true;
      }
    }
  }

  /** Takes out what matches, wherever it stands. */
  take(match: (entry: Entry) => boolean): Entry[] {
    const taken = this.all().filter(match);
    for (const entry of taken) this.remove(entry);
    return taken;
  }

  private remove(entry: Entry): void {
    this.entries.delete(entry.uuid);
    this.bytes -= entry.bytes;
  }
}

/** What is known of a message that is given up without an answer. */
export function outcomeOf(entry: Entry): Outcome {
  return entry.lost || entry.sends.size > 0 ? 'unknown' : 'none';
}
