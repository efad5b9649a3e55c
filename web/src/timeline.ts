// Timeline is the stretch of a room's log that the page shows: contiguous, and never longer than `most`, so that the page
// stays quick however long one talks. Reading further up lets go of the newest, which are read again on the way back.
// Pure. Pages come from `history`; what is decided here is only what of them fits.
import type { Message } from 'tertulia-client';

export const shownMost = 300;

export class Timeline {
  messages: Message[] = [];
  /** Does it reach the newest message that was delivered? If not, what is said now is not shown until one comes back down. */
  atEnd = true;
  /** Has the log older messages than these? */
  hasOlder = false;

  constructor(private readonly most = shownMost) {}

  get first(): Message | undefined {
    return this.messages[0];
  }

  get last(): Message | undefined {
    return this.messages[this.messages.length - 1];
  }

  clear(): void {
    this.messages = [];
    this.atEnd = true;
    this.hasOlder = false;
  }

  /**
   * A delivered message. `following`: the reader is at the end, so room is made at the top; otherwise nothing moves under
   * the reader, and when there is no room the message is left to be read later.
   */
  append(message: Message, following: boolean): void {
    if (!this.atEnd) return;
    const { last } = this;
    if (last && message.sequence <= last.sequence) return; // a page brought it already
    if (last && message.sequence !== last.sequence + 1) this.clear(); // what lies between was skipped
    if (this.messages.length === 0) this.hasOlder = message.sequence > 1;
    if (this.messages.length >= this.most) {
      if (!following) {
        this.atEnd = false;
        return;
      }
      this.dropTop(this.messages.length + 1 - this.most);
    }
    this.messages.push(message);
  }

  /** A page that ends directly before the first message (or at `head`, if there is none). False if it does not fit. */
  prepend(page: readonly Message[], more: boolean, head: number): boolean {
    const before = this.first?.sequence ?? head + 1;
    const last = page[page.length - 1];
    if (last && last.sequence !== before - 1) return false;
    this.messages = [...page, ...this.messages];
    this.hasOlder = more;
    if (this.messages.length > this.most) {
      this.messages.length = this.most;
      this.atEnd = false;
    }
    return true;
  }

  /** A page that begins directly after the last message; `head` is the newest that was delivered. False if it does not fit. */
  extend(page: readonly Message[], head: number): boolean {
    const { last } = this;
    if (!last || (page[0] && page[0].sequence !== last.sequence + 1)) return false;
    this.messages = [...this.messages, ...page];
    if (this.messages.length > this.most) this.dropTop(this.messages.length - this.most);
    this.atEnd = this.last!.sequence >= head;
    return true;
  }

  /** The newest page in place of what is shown. */
  replace(page: readonly Message[], more: boolean, head: number): void {
    this.messages = [...page];
    this.hasOlder = more;
    this.atEnd = (this.last?.sequence ?? 0) >= head;
  }

  private dropTop(count: number): void {
    this.messages = this.messages.slice(count);
    this.hasOlder = true;
  }
}

/** A line that is not in the log: somebody came or went. It stands behind the message `after`. */
export interface Note {
  key: string;
  after: number;
  text: string;
}

export type Row =
  | {
      kind: 'message';
      key: string;
      message: Message;
      /** Does it show name and time, or does it belong to the group above? */
      head: boolean;
      /** Is it the first of its day? */
      day: boolean;
      /** Does the line "new" stand above it? */
      line: boolean;
    }
  | { kind: 'note'; key: string; note: Note };

/** One name stands over what the same person says within this time. */
export const groupMs = 5 * 60_000;

/** What is shown, top to bottom. `lineAfter`: what comes behind this sequence is new to the reader; null: nothing is. */
export function rowsOf(messages: readonly Message[], notes: readonly Note[], lineAfter: number | null): Row[] {
  const rows: Row[] = [];
  const first = messages[0]?.sequence ?? 0;
  let note = notes.findIndex((each) => each.after >= first - 1);
  if (note < 0) note = notes.length;
  const notesUpTo = (sequence: number): void => {
    for (let each = notes[note]; each && each.after <= sequence; each = notes[++note]) {
      rows.push({ kind: 'note', key: each.key, note: each });
    }
  };
  notesUpTo(messages.length > 0 ? first - 1 : Infinity);
  let before: Message | undefined;
  for (const message of messages) {
    const day = !before || new Date(before.sentAt).toDateString() !== new Date(message.sentAt).toDateString();
    const line = lineAfter !== null && message.sequence > lineAfter && (!before || before.sequence <= lineAfter);
    const head =
      day || line || rows[rows.length - 1]?.kind === 'note' || before?.userId !== message.userId ||
      before.userName !== message.userName || message.sentAt - before.sentAt > groupMs;
    rows.push({ kind: 'message', key: message.position, message, head, day, line });
    before = message;
    notesUpTo(message.sequence);
  }
  return rows;
}
