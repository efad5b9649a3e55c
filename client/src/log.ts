// RoomLog knows which contiguous range of a room's log this client holds, and lets nothing else through: message n+1 only
// directly after n, only once, and only if its chain continues n's. Pure. Memory: one message, and the chains of the newest
// 1024, to tell a repeat from another past.
import { chainNext, chainOfText, chainStart, chainText, parsePosition, positionText } from './chain.js';
import type { Held, Message } from './types.js';

/**
 * - `next`: it continues the log; deliver it.
 * - `repeat`: it is held already; swallow it.
 * - `gap`: something between is missing; fetch it.
 * - `mismatch`: it belongs to another past than ours.
 */
export type Verdict = 'next' | 'repeat' | 'gap' | 'mismatch';

const recentCount = 1024;

export class RoomLog {
  private readonly zero: Uint8Array;
  // The end of what is held; undefined until a first message or position is known.
  private end: { sequence: number; chain: Uint8Array; text: string } | undefined;
  private from = 1;
  // What an older page must lead to: the first message held, or the chain of the place before it.
  private first: Message | undefined;
  private placeBefore: string | undefined;
  private readonly recent: { sequence: number; chain: string }[] = [];

  constructor(roomName: string) {
    this.zero = chainStart(roomName);
  }

  get held(): Held | null {
    if (!this.end) return null;
    const { sequence, text } = this.end;
    return { from: this.from, to: sequence, chain: text, position: positionText({ sequence, chain: text }) };
  }

  /** Holds nothing from here on; the next message may be any. */
  drop(): void {
    this.end = undefined;
    this.first = undefined;
    this.placeBefore = undefined;
    this.recent.length = 0;
  }

  /** Begins directly after a position, with no message held. False, and nothing changes, if it is malformed. */
  startAfter(position: string): boolean {
    const parsed = parsePosition(position);
    const chain = parsed && chainOfText(parsed.chain);
    if (!parsed || !chain) return false;
    this.drop();
    this.end = { sequence: parsed.sequence, chain, text: parsed.chain };
    this.from = parsed.sequence + 1;
    this.placeBefore = parsed.chain;
    return true;
  }

  /** Judges a message, and takes it if it is `next`. */
  offer(message: Message): Verdict {
    if (!this.end) return this.begin(message);
    if (message.sequence <= this.end.sequence) {
      const known =
        message.sequence === this.end.sequence ? this.end.text : this.recentChain(message.sequence);
      return known === undefined || known === message.chain ? 'repeat' : 'mismatch';
    }
    if (message.sequence !== this.end.sequence + 1) return 'gap';
    const chain = chainNext(this.end.chain, message);
    if (chainText(chain) !== message.chain) return 'mismatch';
    if (this.from > this.end.sequence) this.first = message;
    this.extend(message, chain);
    return 'next';
  }

  // The first message after nothing: its own chain must be believed, unless it is the room's first.
  private begin(message: Message): Verdict {
    if (message.sequence === 1 && chainText(chainNext(this.zero, message)) !== message.chain) return 'mismatch';
    const chain = chainOfText(message.chain);
    if (!chain) return 'mismatch';
    this.from = message.sequence;
    this.first = message;
    this.placeBefore = undefined;
    this.extend(message, chain);
    return 'next';
  }

  private extend(message: Message, chain: Uint8Array): void {
    this.end = { sequence: message.sequence, chain, text: message.chain };
    this.recent[message.sequence % recentCount] = { sequence: message.sequence, chain: message.chain };
  }

  private recentChain(sequence: number): string | undefined {
    const entry = this.recent[sequence % recentCount];
    return entry?.sequence === sequence ? entry.chain : undefined;
  }

  /**
   * The server says that everything up to this position has been sent. `next` if that is so (an empty log then begins after
   * it), `gap` if something is missing, `mismatch` if the position is of another past.
   */
  settle(position: string): 'next' | 'gap' | 'mismatch' {
    const head = parsePosition(position);
    if (!head) return 'mismatch';
    if (!this.end) return this.startAfter(position) ? 'next' : 'mismatch';
    if (this.end.sequence < head.sequence) return 'gap';
    const known = this.end.sequence === head.sequence ? this.end.text : this.recentChain(head.sequence);
    return known === undefined || known === head.chain ? 'next' : 'mismatch';
  }

  /**
   * Judges a page of history: false if its messages are not contiguous, do not chain, or do not lead to what is held where
   * they touch it. A page that ends directly before what is held becomes part of it.
   */
  page(messages: readonly Message[]): boolean {
    const head = messages[0];
    if (!head) return true;
    let chain = head.sequence === 1 ? chainNext(this.zero, head) : chainOfText(head.chain);
    if (!chain || chainText(chain) !== head.chain) return false;
    for (let i = 1; i < messages.length; i++) {
      const message = messages[i]!;
      if (message.sequence !== messages[i - 1]!.sequence + 1) return false;
      chain = chainNext(chain, message);
      if (chainText(chain) !== message.chain) return false;
    }
    const last = messages[messages.length - 1]!;
    if (!this.end) return true;
    for (const message of messages) {
      const known = message.sequence === this.end.sequence ? this.end.text : this.recentChain(message.sequence);
      if (known !== undefined && known !== message.chain) return false;
    }
    if (last.sequence + 1 !== this.from) return true;
    const leads = this.first
      ? chainText(chainNext(chain, this.first)) === this.first.chain
      : this.placeBefore === undefined || this.placeBefore === last.chain;
    if (!leads) return false;
    this.from = head.sequence;
    this.first = head;
    return true;
  }
}
