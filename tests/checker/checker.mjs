// The checker says whether a run kept its promises: it reads every client's story and the store itself, and tells what
// was lost, repeated, reordered, made up, changed, chained wrongly or put out of a sender's order, where two clients
// disagree, and which name two held at once. Nothing found: [].
//
// It believes nobody: chains are computed anew (chain.mjs), and the store is read without the server (store.mjs).
// Pure. Its own proof is checker.test.mjs: every kind of damage is done to a clean run and must be found.
import { chainNext, chainStart, chainText } from './chain.mjs';

/**
 * @typedef {import('./store.mjs').Store} Store
 * @typedef {import('./store.mjs').Row} Row
 *
 * What one client did and saw, in its order:
 * - said     it wrote this message for the first time. Later repeats of it are not told.
 * - acked    it was told that this message is in the log; at `sequence` and `position` if it was told these (v2).
 * - refused  it was told that this message certainly is not in the log.
 * - began    a delivery begins: directly after the position `after`; null: at any place that the server likes.
 *            A library that hides its reconnections has one; a classic client has one a connection.
 * - saw      a message was delivered. A classic client may see its own once more from before where its delivery began:
 *            that is how a repeat is acked.
 * - skipped  the server said that it leaves out what lies between (exclusive).
 * - reset    the server said that the past seen so far is gone.
 * - admitted it was told that it is in the room, under this name, by a new connection or for the first time.
 * - away     its connection is gone, or it has left.
 *
 * `at`: milliseconds of one clock that never goes back and is the same for all stories of a run (monotonicMs below).
 *
 * @typedef {{kind: 'said', room: string, uuid: string, userId: string, text: string, at?: number}
 *   | {kind: 'acked', room: string, uuid: string, sequence?: number, position?: string, at?: number}
 *   | {kind: 'refused', room: string, uuid: string}
 *   | {kind: 'began', room: string, after: string|null}
 *   | {kind: 'saw', room: string, message: Seen}
 *   | {kind: 'skipped', room: string, after: number, before: number}
 *   | {kind: 'reset', room: string}
 *   | {kind: 'admitted', room: string, userId: string, userName: string, at: number}
 *   | {kind: 'away', room: string}} Event
 * @typedef {{sequence: number, position: string, uuid: string, userId: string, userName: string, text: string,
 *   date: string, sentAt: number, method: string}} Seen
 *
 * @typedef {object} Story
 * @property {string} who
 * @property {'v2'|'classic'} dialect
 * @property {Event[]} events
 * @property {string[]} [caughtUp] rooms of which it must have seen the head at its end, with everything said acked
 *
 * @typedef {'lost'|'repeated'|'reordered'|'phantom'|'changed'|'chain'|'sender'|'disagreement'|'name'} Kind
 * @typedef {{kind: Kind, room: string, who: string, what: string}} Finding
 */

const findingsMax = 200;

/** The same in all processes of this machine, and never going back: for `at`. */
export const monotonicMs = () => Number(process.hrtime.bigint() / 1000n) / 1000;

/**
 * @param {Store} store
 * @param {Story[]} stories
 * @param {{strangers?: boolean}} [options] strangers: others than those of the stories wrote too, so what nobody of them
 *   said is no phantom
 * @returns {Finding[]}
 */
export function check(store, stories, options = {}) {
  /** @type {Finding[]} */ const findings = [];
  const find = (kind, room, who, what) => { if (findings.length < findingsMax) findings.push({ kind, room, who, what }); };
  const logs = new Map([...store].map(([room, rows]) => [room, readLog(room, rows, find)]));
  const logOf = (room) => logs.get(room) ?? { rows: [], bySequence: new Map(), byUuid: new Map(), head: 0 };
  /** @type {Map<string, Set<string>>} */ const saidIn = new Map();
  for (const story of stories) {
    checkSaid(story, logOf, saidIn, find);
    checkSeen(story, logOf, find);
  }
  checkAgreement(stories, find);
  checkNames(stories, find);
  for (const [room, log] of logs)
    for (const row of options.strangers ? [] : log.rows)
      if (!saidIn.get(room)?.has(row.uuid)) find('phantom', room, 'the store', `${row.uuid} at ${row.sequence}: nobody said it`);
  return findings;
}

/** The findings in lines, for a test's message. @param {Finding[]} findings */
export function told(findings) {
  return findings.map(({ kind, room, who, what }) => `${kind}: ${who} in ${room}: ${what}`).join('\n');
}

// The store by itself: dense from 1, each uuid once, every chain right.
function readLog(room, rows, find) {
  const bySequence = new Map(), byUuid = new Map();
  let expected = 1;
  let chain = chainStart(room);
  for (const row of rows) {
    if (bySequence.has(row.sequence)) find('repeated', room, 'the store', `sequence ${row.sequence} stands there twice`);
    else if (row.sequence > expected) find('lost', room, 'the store', `no ${expected} before ${row.sequence}`);
    if (byUuid.has(row.uuid)) find('repeated', room, 'the store', `${row.uuid} at ${byUuid.get(row.uuid).sequence} and ${row.sequence}`);
    if (row.previous !== chainText(chain)) find('chain', room, 'the store', `${row.sequence} does not continue the one before`);
    chain = chainNext(Buffer.from(row.previous, 'base64url'), row);
    if (row.chain !== chainText(chain)) find('chain', room, 'the store', `${row.sequence} has ${row.chain}, is ${chainText(chain)}`);
    bySequence.set(row.sequence, row);
    if (!byUuid.has(row.uuid)) byUuid.set(row.uuid, row);
    expected = row.sequence + 1;
  }
  return { rows, bySequence, byUuid, head: expected - 1 };
}

// What it said: stored once and unchanged where it was acked, in the order said, and no later one without an earlier one.
function checkSaid(story, logOf, saidIn, find) {
  const { who } = story;
  /** @type {Map<string, {uuid: string, acked: boolean, refused: boolean}[]>} */ const byRoom = new Map();
  const open = new Map();
  for (const event of story.events) {
    const { room } = event;
    if (event.kind === 'said') {
      const said = { uuid: event.uuid, acked: false, refused: false };
      if (!byRoom.has(room)) byRoom.set(room, []);
      if (!saidIn.has(room)) saidIn.set(room, new Set());
      byRoom.get(room).push(said);
      saidIn.get(room).add(event.uuid);
      open.set(`${room} ${event.uuid}`, said);
      const row = logOf(room).byUuid.get(event.uuid);
      if (row && (row.userId !== event.userId || row.text !== event.text || row.method !== 'textMessage'))
        find('changed', room, who, `${event.uuid} at ${row.sequence} is not what was said`);
    } else if (event.kind === 'acked') {
      const said = open.get(`${room} ${event.uuid}`);
      if (said) said.acked = true;
      const row = logOf(room).byUuid.get(event.uuid);
      if (!said) find('phantom', room, who, `${event.uuid} was acked and never said`);
      else if (!row) find('lost', room, who, `${event.uuid} was acked and is not in the store`);
      else if (event.sequence !== undefined && event.sequence !== row.sequence)
        find('reordered', room, who, `${event.uuid} was acked at ${event.sequence} and stands at ${row.sequence}`);
      else if (event.position !== undefined && event.position !== `${row.sequence}-${row.chain}`)
        find('chain', room, who, `${event.uuid} was acked as ${event.position} and stands at ${row.sequence}-${row.chain}`);
    } else if (event.kind === 'refused') {
      const said = open.get(`${room} ${event.uuid}`);
      if (said) said.refused = true;
      const row = logOf(room).byUuid.get(event.uuid);
      if (row) find('phantom', room, who, `${event.uuid} was refused and stands at ${row.sequence}`);
    }
  }
  for (const [room, all] of byRoom) {
    const log = logOf(room);
    let last = 0, missing = '';
    for (const { uuid, acked, refused } of all) {
      const row = log.byUuid.get(uuid);
      if (!row) {
        if (!refused && missing === '') missing = uuid;
        if (!refused && story.caughtUp?.includes(room)) find('lost', room, who, `${uuid} was said and is not in the store`);
        continue;
      }
      if (!acked && story.caughtUp?.includes(room)) find('lost', room, who, `${uuid} at ${row.sequence} was never acked`);
      if (missing !== '') find('sender', room, who, `${uuid} at ${row.sequence}, but ${missing}, said before it, is not there`);
      if (row.sequence < last) find('sender', room, who, `${uuid} at ${row.sequence} was said after the one at ${last}`);
      last = Math.max(last, row.sequence);
    }
  }
}

// What it saw: n+1 directly after n, each what the store has there.
function checkSeen(story, logOf, find) {
  const { who, events } = story;
  /** Per room: the last sequence of this delivery (undefined: any may come), and where the delivery began. */
  const at = new Map();
  const place = (room) => {
    if (!at.has(room)) at.set(room, { last: undefined, began: 0, loose: false, highest: 0, seen: new Set() });
    return at.get(room);
  };
  // Where each was said first: long stories are read once.
  const saidAt = new Map();
  events.forEach((event, index) => {
    const key = `${event.room} ${event.uuid}`;
    if (event.kind === 'said' && !saidAt.has(key)) saidAt.set(key, index);
  });
  const saidBefore = (index, room, uuid) => (saidAt.get(`${room} ${uuid}`) ?? Infinity) < index;
  events.forEach((event, index) => {
    const { room } = event;
    const here = place(room);
    if (event.kind === 'began') {
      const fits = event.after !== null && fitsStore(logOf(room), room, event.after);
      here.last = fits ? sequenceOf(event.after) : undefined;
      here.began = here.last ?? Infinity;
      // Without a place, its first frames may be acks again, and the log begins behind them.
      here.loose = !fits && story.dialect === 'classic';
      here.seen = new Set();
    } else if (event.kind === 'reset') {
      Object.assign(here, { last: undefined, began: Infinity, highest: 0, seen: new Set() });
    } else if (event.kind === 'skipped') {
      if (here.last !== undefined && event.after !== here.last)
        find('lost', room, who, `told that what follows ${event.after} was left out, having seen ${here.last}`);
      here.last = event.before - 1;
    } else if (event.kind === 'saw') {
      const { message } = event;
      checkMessage(message, logOf(room), room, who, find);
      const { sequence } = message;
      const begins = here.last === undefined || (here.loose && sequence !== here.last + 1);
      if (begins) here.began = sequence - 1;
      here.loose &&= saidBefore(index, room, message.uuid);
      if (begins || sequence === here.last + 1) {
        here.last = sequence;
      } else if (story.dialect === 'classic' && sequence <= here.began && saidBefore(index, room, message.uuid)) {
        return;  // its ack again: the one exception to dense order
      } else if (sequence <= here.last) {
        if (here.seen.has(sequence)) find('repeated', room, who, `saw ${sequence} again after ${here.last}`);
        else find('reordered', room, who, `saw ${sequence} after ${here.last}`);
      } else {
        find(comesLater(events, index, room, here.last + 1) ? 'reordered' : 'lost', room, who, `saw ${sequence} directly after ${here.last}`);
        here.last = sequence;
      }
      here.seen.add(sequence);
      here.highest = Math.max(here.highest, sequence);
    }
  });
  for (const room of story.caughtUp ?? [])
    if (place(room).highest < logOf(room).head) find('lost', room, who, `saw up to ${place(room).highest}, and the head is ${logOf(room).head}`);
}

// All members see the same message at n, whatever the store says now. What a client was told to forget does not count.
function checkAgreement(stories, find) {
  /** @type {Map<string, Map<number, {uuid: string, who: string}>>} */ const seen = new Map();
  for (const { who, events } of stories) {
    const forgotten = new Map();
    events.forEach((event, index) => { if (event.kind === 'reset') forgotten.set(event.room, index); });
    events.forEach((event, index) => {
      if (event.kind !== 'saw' || index < (forgotten.get(event.room) ?? -1)) return;
      if (!seen.has(event.room)) seen.set(event.room, new Map());
      const { sequence, uuid } = event.message;
      const other = seen.get(event.room).get(sequence);
      if (!other) seen.get(event.room).set(sequence, { uuid, who });
      else if (other.uuid !== uuid) find('disagreement', event.room, who, `saw ${uuid} at ${sequence}, and ${other.who} saw ${other.uuid}`);
    });
  }
}

// A name is one user's. Somebody surely held it from the moment at which he was told so until he said the last thing that
// was acked on that connection: whatever came later may have been said into a connection that was dead already.
function checkNames(stories, find) {
  /** @type {Map<string, {from: number, to: number, userId: string, who: string, room: string, userName: string}[]>} */
  const holds = new Map();
  for (const { who, events } of stories) {
    const open = new Map(), said = new Map();
    for (const event of events) {
      if (event.kind === 'admitted') {
        const key = `${event.room}\n${event.userName.normalize('NFKC').toLowerCase()}`;
        const hold = { from: event.at, to: event.at, userId: event.userId, who, room: event.room, userName: event.userName };
        open.set(event.room, hold);
        if (!holds.has(key)) holds.set(key, []);
        holds.get(key).push(hold);
      } else if (event.kind === 'away') {
        open.delete(event.room);
      } else if (event.kind === 'said' && event.at !== undefined) {
        said.set(`${event.room} ${event.uuid}`, event.at);
      } else if (event.kind === 'acked') {
        const at = said.get(`${event.room} ${event.uuid}`);
        const hold = open.get(event.room);
        if (hold && at !== undefined && at >= hold.from) hold.to = Math.max(hold.to, at);
      }
    }
  }
  for (const all of holds.values()) {
    all.sort((a, b) => a.from - b.from);
    /** Of those before, whoever held it longest. */ let longest;
    for (const hold of all) {
      if (longest && longest.userId !== hold.userId && hold.from <= longest.to)
        find('name', hold.room, hold.who, `was admitted as ${hold.userName} at ${Math.round(hold.from)} ms, and ${longest.who} held that name until ${Math.round(longest.to)} ms`);
      if (!longest || hold.to > longest.to) longest = hold;
    }
  }
}

function checkMessage(message, log, room, who, find) {
  const row = log.bySequence.get(message.sequence);
  if (!row || row.uuid !== message.uuid) {
    const elsewhere = log.byUuid.get(message.uuid);
    if (elsewhere) find('reordered', room, who, `saw ${message.uuid} at ${message.sequence}; it stands at ${elsewhere.sequence}`);
    else if (!row && message.sequence > log.head) find('lost', room, who, `saw ${message.uuid} at ${message.sequence}; the log ends at ${log.head}`);
    else find('phantom', room, who, `saw ${message.uuid} at ${message.sequence}; the store does not have it`);
    return;
  }
  for (const field of ['method', 'userId', 'userName', 'text', 'date', 'sentAt'])
    if (message[field] !== row[field]) find('changed', room, who, `the ${field} of ${message.sequence} was seen otherwise than stored`);
  if (message.position !== `${row.sequence}-${row.chain}`) find('chain', room, who, `saw ${message.position}, stored is ${row.sequence}-${row.chain}`);
}

function fitsStore(log, room, position) {
  const sequence = sequenceOf(position);
  const chain = sequence === 0 ? chainText(chainStart(room)) : log.bySequence.get(sequence)?.chain;
  return position === `${sequence}-${chain}`;
}
function sequenceOf(position) {
  return Number(position.slice(0, position.indexOf('-')));
}
function comesLater(events, index, room, sequence) {
  for (let i = index + 1; i < events.length; ++i) {
    const event = events[i];
    if (event.room !== room) continue;
    if (event.kind === 'began' || event.kind === 'reset') return false;
    if (event.kind === 'saw' && event.message.sequence === sequence) return true;
  }
  return false;
}
