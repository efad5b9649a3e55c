// The checker's own proof: a clean run is found clean, and whatever is done to a run is found and called by its name.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { chainNext, chainStart, chainText } from './chain.mjs';
import { check, told } from './checker.mjs';
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
