// View draws a conversation: it makes the document what the models say, and nothing else. Everything that people wrote goes
// in as text nodes. Rows are kept by key and made anew only when they look different, so drawing often costs little.
import type { Message } from 'tertulia-client';
import type { Conversation } from './conversation.js';
import { onlyEmoji, splitLinks } from './links.js';
import type { Outgoing } from './outgoing.js';
import { groupMs, rowsOf, type Row } from './timeline.js';
import { dayOf, here, initialsOf, newMessages, timeOf, toneOf, wentBack } from './words.js';

const outgoingMost = 50;
const atEndPx = 48;

export function element<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no #${id}`);
  return found as T;
}

export function make(tag: string, className = '', ...children: (Node | string)[]): HTMLElement {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

export interface Deeds {
  older(): void;
  newer(): void;
  toEnd(): void;
  retry(uuid: string): void;
  remove(uuid: string): void;
  /** The reader has moved to the end, or away from it. */
  following(following: boolean): void;
}

interface Drawn {
  look: string;
  node: HTMLElement;
}

export class View {
  private readonly scroll = element('scroll');
  private readonly messages = element('messages');
  private readonly outgoing = element('outgoing');
  private readonly jump = element('jump');
  private readonly older = element('older');
  private readonly newer = element('newer');
  private rows = new Map<string, Drawn>();
  private outgoingRows = new Map<string, Drawn>();
  private peopleLook = '';
  private following = true;
  // A page could not be read: the next try is the reader's, or the page would ask at every frame.
  private readFailed = false;

  constructor(private readonly deeds: Deeds) {
    this.older.addEventListener('click', () => deeds.older());
    this.newer.addEventListener('click', () => deeds.newer());
    this.jump.addEventListener('click', () => deeds.toEnd());
    this.scroll.addEventListener('scroll', () => this.onScroll(), { passive: true });
    // What changes the height (a keyboard, a growing composer) must not take the reader from the end.
    new ResizeObserver(() => {
      if (this.following) this.goToEnd();
    }).observe(this.scroll);
  }

  /** For another room. */
  clear(): void {
    this.rows.clear();
    this.outgoingRows.clear();
    this.messages.replaceChildren();
    this.outgoing.replaceChildren();
    this.peopleLook = '';
    this.following = true;
  }

  goToEnd(): void {
    this.scroll.scrollTop = this.scroll.scrollHeight;
    this.setFollowing(true);
  }

  draw(conversation: Conversation, now: number): void {
    const { timeline, outbound, notes, lineAfter } = conversation;
    // Whatever comes above what the reader looks at, that stays where it is.
    const anchor = this.following ? undefined : this.firstInSight();
    const before = anchor?.getBoundingClientRect().top ?? 0;

    this.readFailed = conversation.readFailed;
    this.drawNotices(conversation);
    const rows = rowsOf(timeline.messages, notes, lineAfter);
    this.rows = sync(this.messages, this.rows, rows, (row) => lookOf(row, now), (row) => drawRow(row, now));
    const last = rows[rows.length - 1];
    const joins = last?.kind === 'message' && last.message.own && now - last.message.sentAt < groupMs;
    this.outgoingRows = sync(
      this.outgoing,
      this.outgoingRows,
      outbound.all.slice(-outgoingMost).map((each, i) => ({ ...each, key: each.uuid, head: i === 0 && !joins })),
      (each) => `${each.head} ${each.state} ${each.why ?? ''}`,
      (each) => this.drawOutgoing(each, each.head, conversation),
    );
    this.drawPeople(conversation);

    if (anchor?.isConnected) this.scroll.scrollTop += anchor.getBoundingClientRect().top - before;
    else if (this.following && timeline.atEnd) this.scroll.scrollTop = this.scroll.scrollHeight;
    this.onScroll();
    const away = !this.following || !timeline.atEnd;
    this.jump.hidden = !away;
    this.jump.textContent = conversation.unseen > 0 ? `${newMessages(conversation.unseen)} ↓` : 'To the newest ↓';
  }

  private drawNotices({ timeline, reading, readFailed, outbound, live, wentBack: back }: Conversation): void {
    const notice = element('went-back');
    notice.hidden = !back;
    notice.textContent = back ? wentBack : '';
    element('empty').hidden = !live || timeline.messages.length > 0 || outbound.all.length > 0 || timeline.hasOlder;
    const label = (direction: 'older' | 'newer', name: string): string =>
      reading === direction ? 'One moment…' : readFailed ? `${name}: try again` : name;
    // A button that has the focus does not vanish under it while it works.
    this.older.hidden = !timeline.hasOlder;
    this.older.textContent = label('older', 'Older messages');
    this.newer.hidden = timeline.atEnd;
    this.newer.textContent = label('newer', 'Newer messages');
  }

  private drawOutgoing(entry: Outgoing, head: boolean, { userName, joined }: Conversation): HTMLElement {
    const failed = entry.state === 'failed';
    const item = make('li', `outgoing${head ? ' head' : ''}${failed ? ' failed' : ''}`);
    const who = whoOf(head, joined?.userId ?? '', userName, Date.parse(entry.date));
    item.append(...who, textOf(entry.text));
    if (!failed) {
      // Beside the time, or in the margin: the row keeps its size when it moves into the log.
      (head ? who[1]! : item).append(clock());
      item.append(make('span', 'unseen', ' (will be sent)'));
      return item;
    }
    const buttons = [make('button', 'small retry', 'Retry'), make('button', 'small', 'Delete')];
    for (const button of buttons) button.setAttribute('type', 'button');
    buttons[0]!.addEventListener('click', () => this.deeds.retry(entry.uuid));
    buttons[1]!.addEventListener('click', () => this.deeds.remove(entry.uuid));
    item.append(make('div', 'fate', make('span', '', entry.why ?? ''), ...buttons));
    return item;
  }

  private drawPeople({ people, room }: Conversation): void {
    const { shown, hidden, total } = people;
    element('people-toggle').textContent = here(total);
    const look = JSON.stringify([room.name, shown, hidden]);
    if (look === this.peopleLook) return;
    this.peopleLook = look;
    element('people-title').textContent = here(total);
    const rows = shown.map(({ userId, userName }) => make('li', '', faceOf(userId, userName), isolated('span', userName)));
    if (hidden > 0) rows.push(make('li', 'quiet', `and ${hidden} more`));
    element('people-list').replaceChildren(...rows);
  }

  private firstInSight(): Element | undefined {
    const top = this.scroll.getBoundingClientRect().top;
    for (const row of this.messages.children) if (row.getBoundingClientRect().bottom > top) return row;
    return undefined;
  }

  private onScroll(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.scroll;
    // A page that is not laid out has no height and no place.
    if (clientHeight === 0) return;
    this.setFollowing(scrollHeight - scrollTop - clientHeight < atEndPx);
    if (this.readFailed) return;
    if (!this.following && scrollTop < clientHeight && !this.older.hidden) this.deeds.older();
    if (!this.newer.hidden && scrollHeight - scrollTop - clientHeight < clientHeight) this.deeds.newer();
  }

  private setFollowing(following: boolean): void {
    if (following === this.following) return;
    this.following = following;
    this.deeds.following(following);
  }
}

/** Makes the children of `parent` the rows, in order; nodes that look the same stay. */
function sync<T extends { key: string }>(
  parent: HTMLElement,
  drawn: Map<string, Drawn>,
  rows: readonly T[],
  lookOfRow: (row: T) => string,
  drawOne: (row: T) => HTMLElement,
): Map<string, Drawn> {
  const next = new Map<string, Drawn>();
  let place = parent.firstElementChild;
  for (const row of rows) {
    const look = lookOfRow(row);
    let one = drawn.get(row.key);
    if (!one || one.look !== look) {
      const node = drawOne(row);
      if (one) {
        if (one.node === place) place = node;
        one.node.replaceWith(node);
      }
      one = { look, node };
    }
    next.set(row.key, one);
    if (one.node === place) place = place.nextElementSibling;
    else parent.insertBefore(one.node, place);
  }
  while (place) {
    const gone = place;
    place = place.nextElementSibling;
    gone.remove();
  }
  return next;
}

function lookOf(row: Row, now: number): string {
  if (row.kind === 'note') return '';
  return `${row.head ? 'head' : ''} ${row.line ? 'line' : ''} ${row.day ? dayOf(row.message.sentAt, now) : ''}`;
}

function drawRow(row: Row, now: number): HTMLElement {
  if (row.kind === 'note') return make('li', 'note', row.note.text);
  const { message, head, day, line } = row;
  const item = make('li', `${head ? 'head' : ''}${message.own ? ' own' : ''}`.trim());
  item.dataset['sequence'] = String(message.sequence);
  if (day) item.append(make('div', 'day', dayOf(message.sentAt, now)));
  if (line) item.append(make('div', 'fresh', 'New'));
  item.append(...whoOf(head, message.userId, message.userName, message.sentAt));
  item.append(message.kind === 'text' ? textOf(message.text ?? '') : make('div', 'text quiet', attachment(message)));
  return item;
}

// Name and time once a group; who listens hears the name each time.
function whoOf(head: boolean, userId: string, userName: string, ms: number): HTMLElement[] {
  if (!head) return [make('span', 'unseen', `${userName}: `)];
  const time = make('time', '', timeOf(ms));
  time.setAttribute('datetime', new Date(ms).toISOString());
  return [faceOf(userId, userName), make('div', 'who', isolated('strong', userName), time)];
}

function attachment({ kind, fileName }: Message): string {
  return kind === 'image' ? 'A picture, which this page cannot show' : `A file, which this page cannot show: ${fileName ?? ''}`;
}

function textOf(text: string): HTMLElement {
  const node = isolated('div', '');
  node.className = onlyEmoji(text) ? 'text emoji' : 'text';
  for (const piece of splitLinks(text)) {
    if (piece.href === undefined) {
      node.append(piece.text);
      continue;
    }
    const link = make('a', '', piece.text) as HTMLAnchorElement;
    link.href = piece.href;
    link.rel = 'noopener noreferrer';
    link.target = '_blank';
    node.append(link);
  }
  return node;
}

// Each text runs in its own direction and does not turn its neighbours around.
function isolated(tag: string, text: string): HTMLElement {
  const node = make(tag, '', text);
  node.dir = 'auto';
  return node;
}

function faceOf(userId: string, userName: string): HTMLElement {
  const face = make('span', `face tone-${toneOf(userId)}`, initialsOf(userName));
  face.setAttribute('aria-hidden', 'true');
  return face;
}

function clock(): SVGElement {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', 'clock');
  svg.setAttribute('viewBox', '0 0 12 12');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', 'M6 1a5 5 0 1 1 0 10A5 5 0 0 1 6 1zM6 3.5V6l1.5 1');
  svg.append(path);
  return svg;
}
