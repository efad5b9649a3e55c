// The checker's own proof: a clean run is found clean, and whatever is done to a run is found and called by its name.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { chainNext, chainStart, chainText } from './chain.mjs';
import { check, told } from './checker.mjs';
import { HistoryWriter, readHistory, writeHistory } from './history.mjs';
import { random, seed } from '../system/lib/random.mjs';
import { readStore } from './store.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const room = 'sala';

/** A clean run: Ana (v2) and Ben (v2, came back once), Cleo (classic, two connections) say four messages each. */
function cleanRun() {
  const people = [['ana', '~ana'], ['ben', '~ben'], ['cleo', 'cleo']];
  const rows = [];
  let chain = chainStart(room);
  for (let n = 1; n <= 12; ++n) {
    const [who, userId] = people[(n - 1) % 3];
    const row = { sequence: n, method: 'textMessage', uuid: `${who}-${Math.ceil(n / 3)}`, userId, userName: who, date: '', sentAt: 1000 + n, text: `text ${n}` };
    const next = chainNext(chain, row);
    rows.push({ ...row, previous: chainText(chain), chain: chainText(next) });
    chain = next;
  }
  const saw = (n) => {
    const { chain: own, previous, ...row } = rows[n - 1];
    return { kind: 'saw', room, message: { ...row, position: `${n}-${own}` } };
  };
  const said = (who, n) => {
    const row = rows.find((each) => each.uuid === `${who}-${n}`);
    return { kind: 'said', room, uuid: row.uuid, userId: row.userId, text: row.text };
  };
  const acked = (who, n) => {
    const row = rows.find((each) => each.uuid === `${who}-${n}`);
    return { kind: 'acked', room, uuid: row.uuid, sequence: row.sequence, position: `${row.sequence}-${row.chain}` };
  };
  const range = (from, to, make) => Array.from({ length: to - from + 1 }, (_, i) => make(from + i));
  const position = (n) => `${n}-${n === 0 ? chainText(chainStart(room)) : rows[n - 1].chain}`;
  const ana = { who: 'ana', dialect: 'v2', caughtUp: [room], events: [
    { kind: 'began', room, after: position(0) }, ...range(1, 4, (n) => said('ana', n)), ...range(1, 12, saw), ...range(1, 4, (n) => acked('ana', n)),
  ] };
  const ben = { who: 'ben', dialect: 'v2', caughtUp: [room], events: [
    { kind: 'began', room, after: null }, ...range(1, 4, (n) => said('ben', n)), saw(5), saw(6), { kind: 'skipped', room, after: 6, before: 9 },
    ...range(9, 12, saw), ...range(1, 4, (n) => acked('ben', n)),
  ] };
  // On her second connection she begins after the oldest that she holds, and hears her first two once more as acks.
  const cleo = { who: 'cleo', dialect: 'classic', caughtUp: [room], events: [
    { kind: 'began', room, after: null }, ...range(1, 4, (n) => said('cleo', n)), ...range(7, 9, saw), ...range(1, 3, (n) => acked('cleo', n)),
    { kind: 'began', room, after: position(7) }, saw(3), saw(6), ...range(8, 10, saw), saw(3), ...range(11, 12, saw), acked('cleo', 4),
    { kind: 'began', room, after: null }, saw(3), ...range(11, 12, saw),
  ] };
  return { store: new Map([[room, rows]]), stories: [ana, ben, cleo] };
}

const eventsOf = (run, who) => run.stories.find((story) => story.who === who).events;
const seenAt = (run, who, n) => eventsOf(run, who).findIndex((event) => event.kind === 'saw' && event.message.sequence === n);
const rowsOf = (run) => run.store.get(room);
/** Chains anew from `from` on, so that nothing but the damage itself is found. */
function rechain(run) {
  let chain = chainStart(room);
  for (const row of rowsOf(run)) {
    row.previous = chainText(chain);
    chain = chainNext(chain, row);
    row.chain = chainText(chain);
  }
}

/** What is done to the run, and what it must be called. @type {[string, string, (run: any) => void][]} */
const damages = [
  ['an acked message is missing at the end of the store', 'lost', (run) => rowsOf(run).pop()],
  ['an acked message is missing in the middle, and the log was closed over it', 'lost', (run) => {
    rowsOf(run).splice(4, 1);
    rowsOf(run).forEach((row, i) => { row.sequence = i + 1; });
    rechain(run);
  }],
  ['there is a hole in the store', 'lost', (run) => rowsOf(run).splice(4, 1)],
  ['a client did not see one message', 'lost', (run) => eventsOf(run, 'ana').splice(seenAt(run, 'ana', 7), 1)],
  ['a client did not see the last message', 'lost', (run) => eventsOf(run, 'ana').splice(seenAt(run, 'ana', 12), 1)],
  ['a returning classic client did not see the first message after its position', 'lost', (run) => {
    const events = eventsOf(run, 'cleo');
    const second = events.findIndex((event, i) => event.kind === 'began' && i > 0);
    events.splice(events.findIndex((event, i) => i > second && event.kind === 'saw' && event.message.sequence === 8), 1);
  }],
  ['something was left out before what was seen last', 'lost', (run) => { eventsOf(run, 'ben').find((event) => event.kind === 'skipped').after = 8; }],
  ['a message was said and never acked', 'lost', (run) => {
    const events = eventsOf(run, 'cleo');
    events.splice(events.findIndex((event) => event.kind === 'acked' && event.uuid === 'cleo-4'), 1);
  }],
  ['everybody saw a message that the store has no more', 'lost', (run) => {
    rowsOf(run).pop();
    for (const story of run.stories) story.events = story.events.filter((event) => event.kind !== 'acked' && event.uuid !== 'cleo-4');
    for (const story of run.stories) story.caughtUp = [];
  }],
  ['a message was stored twice', 'repeated', (run) => {
    rowsOf(run).push({ ...rowsOf(run)[3], sequence: 13 });
    rechain(run);
  }],
  ['a sequence was given twice', 'repeated', (run) => rowsOf(run).splice(4, 0, { ...rowsOf(run)[4], uuid: 'another' })],
  ['a client saw a message twice in a row', 'repeated', (run) => {
    const i = seenAt(run, 'ana', 6);
    eventsOf(run, 'ana').splice(i, 0, eventsOf(run, 'ana')[i]);
  }],
  ['a client saw an old message again', 'repeated', (run) => {
    const events = eventsOf(run, 'ana');
    events.splice(seenAt(run, 'ana', 9), 0, events[seenAt(run, 'ana', 2)]);
  }],
  ['a classic client saw somebody else\'s old message again', 'repeated', (run) => {
    const events = eventsOf(run, 'cleo');
    events.push({ ...events[seenAt(run, 'cleo', 8)] }, { ...events[seenAt(run, 'cleo', 8)] });
    events.splice(events.length - 2, 0, { kind: 'began', room, after: `7-${rowsOf(run)[6].chain}` });
  }],
  ['a client saw two messages in the wrong order', 'reordered', (run) => {
    const events = eventsOf(run, 'ana'), i = seenAt(run, 'ana', 6);
    [events[i], events[i + 1]] = [events[i + 1], events[i]];
  }],
  ['a message was acked at another place', 'reordered', (run) => { eventsOf(run, 'ana').find((event) => event.kind === 'acked').sequence = 2; }],
  ['a client saw a message where the store has another', 'reordered', (run) => {
    const events = eventsOf(run, 'ana');
    events[seenAt(run, 'ana', 5)].message.uuid = 'ben-3';
  }],
  ['the store has what nobody said', 'phantom', (run) => {
    rowsOf(run).push({ ...rowsOf(run)[3], sequence: 13, uuid: 'nobody' });
    rechain(run);
  }],
  ['a client saw what the store never had', 'phantom', (run) => { eventsOf(run, 'ana')[seenAt(run, 'ana', 5)].message.uuid = 'nobody'; }],
  ['a refused message stands in the store', 'phantom', (run) => eventsOf(run, 'ana').push({ kind: 'refused', room, uuid: 'ana-1' })],
  ['an ack came for what was not said', 'phantom', (run) => eventsOf(run, 'ana').push({ kind: 'acked', room, uuid: 'ben-1' })],
  ['the store has another text than was said', 'changed', (run) => {
    eventsOf(run, 'ana').find((event) => event.kind === 'said').text = 'another';
  }],
  ['a client saw another text', 'changed', (run) => { eventsOf(run, 'ana')[seenAt(run, 'ana', 5)].message.text = 'another'; }],
  ['a client saw another time', 'changed', (run) => { eventsOf(run, 'ana')[seenAt(run, 'ana', 5)].message.sentAt += 1; }],
  ['a text was changed in the store', 'chain', (run) => { rowsOf(run)[4].text = 'another'; }],
  ['a row does not continue the one before', 'chain', (run) => { rowsOf(run)[4].previous = rowsOf(run)[2].chain; }],
  ['a client saw another chain', 'chain', (run) => { eventsOf(run, 'ana')[seenAt(run, 'ana', 5)].message.position = '5-AAAAAAAAAAAAAAAA'; }],
  ['an ack told another chain', 'chain', (run) => { eventsOf(run, 'ana').find((event) => event.kind === 'acked').position = '1-AAAAAAAAAAAAAAAA'; }],
  ['two messages of a sender stand in the wrong order', 'sender', (run) => {
    const events = eventsOf(run, 'ana');
    const i = events.findIndex((event) => event.kind === 'said');
    [events[i], events[i + 1]] = [events[i + 1], events[i]];
  }],
  ['a later message is stored and an earlier one of the same sender is not', 'sender', (run) => {
    const events = eventsOf(run, 'ben');
    events.splice(events.findIndex((event) => event.kind === 'said'), 0, { kind: 'said', room, uuid: 'ben-0', userId: '~ben', text: '' });
  }],
];

/** What two clients tell of one name. */
function admitted(run, who, userId, userName, at) {
  const story = run.stories.find((each) => each.who === who);
  story.events.push({ kind: 'admitted', room, userId, userName, at });
  return story.events;
}
damages.push(
  ['somebody is admitted under a name that another goes on speaking under', 'name', (run) => {
    const events = admitted(run, 'ana', '~ana', 'Eva', 100);
    admitted(run, 'ben', '~ben', 'EVA', 200);
    events.push({ kind: 'said', room, uuid: 'x', userId: '~ana', text: 'x', at: 300 }, { kind: 'acked', room, uuid: 'x', at: 400 });
  }],
  ['two are admitted under one name at once', 'name', (run) => {
    admitted(run, 'ana', '~ana', 'Eva', 100);
    admitted(run, 'ben', '~ben', 'Eva', 100);
  }],
  ['a third is admitted while the first still speaks', 'name', (run) => {
    const events = admitted(run, 'ana', '~ana', 'Eva', 100);
    events.push({ kind: 'said', room, uuid: 'x', userId: '~ana', text: 'x', at: 900 }, { kind: 'acked', room, uuid: 'x', at: 901 });
    admitted(run, 'cleo', 'cleo', 'eva', 500);
  }],
  ['two clients saw different messages at one place', 'disagreement', (run) => {
    const message = eventsOf(run, 'ana')[seenAt(run, 'ana', 9)].message;
    message.uuid = 'another';
  }],
  ['two clients saw different messages behind the end of the store', 'disagreement', (run) => {
    const one = { ...eventsOf(run, 'ana')[seenAt(run, 'ana', 12)].message, sequence: 13, uuid: 'x' };
    eventsOf(run, 'ana').push({ kind: 'saw', room, message: one });
    eventsOf(run, 'ben').push({ kind: 'saw', room, message: { ...one, uuid: 'y' } });
  }],
);

test('a clean run is found clean', () => {
  const { store, stories } = cleanRun();
  assert.equal(told(check(store, stories)), '');
});

test('a client that holds what the server has forgotten may begin anew', () => {
  const { store, stories } = cleanRun();
  const events = stories[0].events;
  events.splice(events.findIndex((event) => event.kind === 'saw' && event.message.sequence === 8), 0, { kind: 'reset', room });
  assert.equal(told(check(store, stories)), '');
});

for (const [what, kind, damage] of damages) {
  test(`it is found when ${what}`, () => {
    const run = cleanRun();
    damage(run);
    const findings = check(run.store, run.stories);
    assert.ok(findings.some((finding) => finding.kind === kind), `not called ${kind}:\n${told(findings)}`);
  });
}

test('every pair of swapped or doubled deliveries, and every dropped one, is found', () => {
  for (const who of ['ana', 'ben']) {
    const places = eventsOf(cleanRun(), who).flatMap((event, i) => (event.kind === 'saw' ? [i] : []));
    for (const i of places) {
      const begins = eventsOf(cleanRun(), who)[i].message.sequence;
      const dropped = cleanRun();
      eventsOf(dropped, who).splice(i, 1);
      // Who begins anywhere may begin one later: that is no loss.
      if (!(who === 'ben' && begins === 5)) assert.notDeepEqual(check(dropped.store, dropped.stories), [], `${who}: ${begins} dropped`);
      const doubled = cleanRun();
      eventsOf(doubled, who).splice(i, 0, eventsOf(doubled, who)[i]);
      assert.notDeepEqual(check(doubled.store, doubled.stories), [], `${who}: ${begins} doubled`);
      for (const j of places.filter((other) => other > i)) {
        const swapped = cleanRun();
        const events = eventsOf(swapped, who);
        [events[i], events[j]] = [events[j], events[i]];
        assert.notDeepEqual(check(swapped.store, swapped.stories), [], `${who}: ${i} and ${j} swapped`);
      }
    }
  }
});

test('a name may go from one to another, and its user may hold it on two connections', () => {
  const run = cleanRun();
  const events = admitted(run, 'ana', '~ana', 'Eva', 100);
  events.push({ kind: 'said', room, uuid: 'ana-9', userId: '~ana', text: '', at: 200 }, { kind: 'acked', room, uuid: 'ana-9', at: 9_000 },
    { kind: 'refused', room, uuid: 'ana-9' });
  admitted(run, 'cleo', '~ana', 'Eva', 150);
  admitted(run, 'ben', '~ben', 'Eva', 300);
  assert.deepEqual(check(run.store, run.stories).filter(({ kind }) => kind === 'name'), []);
});

test('what a client was told to forget may be another past', () => {
  const run = cleanRun();
  const events = eventsOf(run, 'ana');
  const forgotten = { ...events[seenAt(run, 'ana', 3)].message, uuid: 'of another past' };
  events.splice(1, 0, { kind: 'saw', room, message: forgotten }, { kind: 'reset', room });
  assert.deepEqual(check(run.store, run.stories).filter(({ kind }) => kind === 'disagreement'), []);
});

// --- runs made at random: clean ones raise no alarm, and what is then done to them is found ---

/** Several rooms, clients of both dialects who come, go, come back, are reset and skip. */
function randomRun(chance) {
  const store = new Map(), stories = [];
  const people = Array.from({ length: 2 + chance.below(4) }, (_, i) => ({ who: `p${i}`, dialect: chance.below(3) === 0 ? 'classic' : 'v2' }));
  const rooms = Array.from({ length: 1 + chance.below(3) }, (_, i) => `room ${i}`);
  let at = 0;
  for (const person of people) stories.push({ ...person, caughtUp: [], events: [] });
  for (const name of rooms) {
    const rows = [];
    let chain = chainStart(name);
    const counts = new Map();
    for (let n = 1, length = 10 + chance.below(40); n <= length; ++n) {
      const { who } = people[chance.below(people.length)];
      counts.set(who, (counts.get(who) ?? 0) + 1);
      const row = { sequence: n, method: 'textMessage', uuid: `${name}-${who}-${counts.get(who)}`, userId: `~${who}`, userName: who, date: '', sentAt: n, text: `${n}` };
      const next = chainNext(chain, row);
      rows.push({ ...row, previous: chainText(chain), chain: chainText(next) });
      chain = next;
    }
    store.set(name, rows);
    const position = (n) => `${n}-${n === 0 ? chainText(chainStart(name)) : rows[n - 1].chain}`;
    const saw = (n) => {
      const { chain: own, previous, ...row } = rows[n - 1];
      return { kind: 'saw', room: name, message: { ...row, position: `${n}-${own}` } };
    };
    for (const story of stories) {
      const { events, who, dialect } = story;
      const own = rows.filter(({ userId }) => userId === `~${who}`);
      const come = () => events.push({ kind: 'away', room: name }, { kind: 'admitted', room: name, userId: `~${who}`, userName: who, at: ++at });
      let n = chance.below(3) === 0 ? chance.below(rows.length) : 0;
      come();
      events.push({ kind: 'began', room: name, after: n === 0 || chance.below(2) === 0 ? position(n) : null });
      for (const row of own) events.push({ kind: 'said', room: name, uuid: row.uuid, userId: row.userId, text: row.text, at: ++at });
      for (const row of own) if (chance.below(20) === 0) events.push({ kind: 'said', room: name, uuid: `${row.uuid}-never`, userId: row.userId, text: '' }, { kind: 'refused', room: name, uuid: `${row.uuid}-never` });
      // Said on a former connection, and acked there.
      for (const row of own) if (row.sequence <= n) events.push({ kind: 'acked', room: name, uuid: row.uuid });
      while (n < rows.length) {
        events.push(saw(++n));
        const row = rows[n - 1];
        if (row.userId === `~${who}`) events.push({ kind: 'acked', room: name, uuid: row.uuid, at: ++at, ...(dialect === 'v2' && { sequence: n, position: position(n) }) });
        const event = chance.below(25);
        if (event === 0) {  // comes back, a classic one from further back
          const after = dialect === 'classic' ? chance.below(n + 1) : n;
          come();
          events.push({ kind: 'began', room: name, after: position(after) });
          n = after;
        } else if (event === 1 && dialect === 'v2' && n < rows.length - 1) {
          const before = n + 2 + chance.below(rows.length - n - 1);
          events.push({ kind: 'skipped', room: name, after: n, before });
          for (const row of own.filter(({ sequence }) => sequence > n && sequence < before))
            events.push({ kind: 'acked', room: name, uuid: row.uuid, sequence: row.sequence, position: position(row.sequence) });
          n = before - 1;
        } else if (event === 2 && dialect === 'v2') {  // the store went back, and came to the same again
          events.push({ kind: 'reset', room: name });
          n = chance.below(n);
        }
      }
      story.caughtUp.push(name);
    }
  }
  return { store, stories, rooms };
}

test('two hundred clean runs raise no alarm', () => {
  for (let i = 0; i < 200; ++i) {
    const { store, stories } = randomRun(random(`clean ${i}`));
    assert.equal(told(check(store, stories)), '', `seed ${seed}, run ${i}`);
  }
});

/** Each does one thing at random to a run, or says that it cannot. @type {[string, (run: any, chance: any) => boolean][]} */
const randomDamages = [
  ['an acked message vanishes from the end of a log', ({ store, rooms }, chance) => {
    store.get(rooms[chance.below(rooms.length)]).pop();
    return true;
  }],
  ['a row is stored twice', ({ store, rooms }, chance) => {
    const rows = store.get(rooms[chance.below(rooms.length)]);
    rows.splice(chance.below(rows.length), 0, { ...rows[chance.below(rows.length)] });
    return true;
  }],
  ['a text is stored otherwise', ({ store, rooms }, chance) => {
    const rows = store.get(rooms[chance.below(rooms.length)]);
    rows[chance.below(rows.length)].text = 'other';
    return true;
  }],
  ['a delivery is doubled in the middle of a connection', ({ stories }, chance) => {
    const { events, dialect } = stories[chance.below(stories.length)];
    if (dialect === 'classic') return false;
    const places = events.flatMap((event, i) => (event.kind === 'saw' ? [i] : []));
    const i = places[chance.below(places.length)];
    events.splice(i, 0, events[i]);
    return true;
  }],
  ['a delivery between two others is dropped', ({ stories }, chance) => {
    const { events, dialect, who } = stories[chance.below(stories.length)];
    // What a classic client first sees of its own may be acks, behind which the log begins anywhere.
    const hasBegun = (i) => dialect === 'v2' || events.slice(events.findLastIndex((event, j) => event.kind === 'began' && j < i), i)
      .some((event) => event.kind === 'saw' && event.message.userId !== `~${who}`);
    const places = events.flatMap((event, i) => {
      const before = events[i - 1]?.kind === 'acked' ? events[i - 2] : events[i - 1];
      const after = events[i + 1];
      return event.kind === 'saw' && before?.kind === 'saw' && after?.kind === 'saw' && after.room === event.room && hasBegun(i) ? [i] : [];
    });
    if (places.length === 0) return false;
    events.splice(places[chance.below(places.length)], 1);
    return true;
  }],
  ['somebody takes a name that is still spoken under', ({ stories }, chance) => {
    const holder = stories.find(({ events }) => events.some((event) => event.kind === 'acked' && event.at));
    const other = stories.find((story) => story !== holder);
    const said = holder?.events.find((event) => event.kind === 'said' && event.at && holder.events.some((ack) => ack.kind === 'acked' && ack.uuid === event.uuid));
    if (!said || !other) return false;
    const since = holder.events.filter((event) => event.kind === 'admitted' && event.room === said.room && event.at < said.at).at(-1);
    const ack = holder.events.findIndex((event) => event.kind === 'acked' && event.uuid === said.uuid);
    if (holder.events.some((event, i) => i < ack && event.kind === 'admitted' && event.room === said.room && event.at > said.at)) return false;
    other.events.push({ kind: 'admitted', room: said.room, userId: `~${other.who}`, userName: since.userName.toUpperCase(), at: since.at + (said.at - since.at) * chance.next() });
    return true;
  }],
];
for (const [what, damage] of randomDamages) {
  test(`in fifty runs made at random it is found when ${what}`, () => {
    let done = 0;
    for (let i = 0; done < 50 && i < 500; ++i) {
      const chance = random(`${what} ${i}`);
      const run = randomRun(chance);
      if (!damage(run, chance)) continue;
      ++done;
      assert.notDeepEqual(check(run.store, run.stories), [], `seed ${seed}, run ${i}`);
    }
    assert.equal(done, 50);
  });
}

test('a history is read as it was written, without a line that a kill cut', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tertulia-history-test-'));
  try {
    const file = join(dir, 'ana');
    const [{ events, ...whose }] = cleanRun().stories;
    const writer = new HistoryWriter(file, whose);
    for (const event of events) writer.write(event);
    appendFileSync(file, '{"kind":"saw","room":"sal');
    assert.deepEqual(readHistory(file), { ...whose, events });
    writeHistory(file, { ...whose, events });
    assert.deepEqual(readHistory(file), { ...whose, events });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('its chain is that of the worked examples', () => {
  const vectors = JSON.parse(readFileSync(join(here, '../vectors/chain.json'), 'utf8'));
  for (const log of vectors.logs) {
    let chain = chainStart(log.room);
    assert.equal(chainText(chain), log.start);
    for (const { sequence, message, chain: expected } of log.messages) {
      chain = chainNext(chain, { sequence, ...message });
      assert.equal(chainText(chain), expected);
    }
  }
});

test('a store is read with what stands in its write-ahead log only', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'tertulia-check-test-'));
  try {
    // The server's tables; ended without a checkpoint, as after a kill.
    const schema = /R"sql\(([^]*?)\)sql"/.exec(readFileSync(join(here, '../../server/store/sqlite_schema.cc'), 'utf8'))[1];
    const file = join(dataDir, 'tertulia.db');
    execFileSync('sqlite3', [file, `PRAGMA journal_mode = WAL; ${schema}`]);
    const hex = (text) => Buffer.from(text, 'base64url').toString('hex');
    const [row] = cleanRun().store.get(room);
    const script = `.filectrl data_version\nPRAGMA wal_autocheckpoint = 0;
      INSERT INTO rooms VALUES (1, '${room}');
      INSERT INTO messages VALUES (1, 1, 1, x'${hex(row.previous)}', x'${hex(row.chain)}', '${row.uuid}', 1, '${row.userId}', '${row.userName}', '', ${row.sentAt}, '1', '${row.text}', NULL, NULL, NULL, NULL);
      .shell kill -9 $PPID`;
    assert.notEqual(spawnSync('sqlite3', [file], { input: script }).status, 0);
    const { sequence, previous, chain, method, uuid, text, sentAt } = (await readStore(dataDir)).get(room)[0];
    assert.deepEqual({ sequence, previous, chain, method, uuid, text, sentAt },
      { sequence: 1, previous: row.previous, chain: row.chain, method: 'textMessage', uuid: row.uuid, text: row.text, sentAt: row.sentAt });
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
});
