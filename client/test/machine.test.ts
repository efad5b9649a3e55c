import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoffMs, reconnectMs, returnOf } from '../src/backoff.js';
import { clientPhase, initial, roomPhase, sendingLink, step, type Effect, type MachineEvent, type MachineState } from '../src/machine.js';

const chance = 0.5;
const env = { random: () => chance, openTimeoutMs: 10_000 };

function told(effect: Effect): string {
  switch (effect.do) {
    case 'open':
      return `open ${effect.link}`;
    case 'shut':
      return `shut ${effect.link} ${effect.code}`;
    case 'timer':
      return `timer ${effect.timer} ${effect.ms}`;
    case 'cancel':
      return `cancel ${effect.timer}`;
    case 'join':
    case 'leave':
      return `${effect.do} ${effect.link} ${effect.room}`;
    case 'giveUp':
      return `giveUp ${effect.room} ${effect.error.code}`;
    case 'end':
      return 'end';
  }
}

/** `opened 1`, `closed 1 1012`, `joined 1 r`, `live 1 r`, `joinFailed 1 r -32013 retry 700`, `reconnect 1 300`, `timer reopen`… */
function event(words: string): MachineEvent {
  const [on, ...rest] = words.split(' ') as [MachineEvent['on'], ...string[]];
  const link = Number(rest[0]);
  switch (on) {
    case 'connect':
    case 'retryNow':
    case 'close':
      return { on };
    case 'want':
    case 'unwant':
      return { on, room: rest[0]! };
    case 'timer':
      return { on, timer: rest[0]! };
    case 'opened':
    case 'silent':
      return { on, link };
    case 'closed':
      return { on, link, code: Number(rest[1]) };
    case 'reconnect':
      return { on, link, afterMs: Number(rest[1]) };
    case 'joinFailed': {
      const retryAfterMs = rest[4] === undefined ? undefined : Number(rest[4]);
      const error = { code: Number(rest[2]), message: '', retryable: rest[3] === 'retry', retryAfterMs };
      return { on, link, room: rest[1]!, error };
    }
    default:
      return { on, link, room: rest[1]! } as MachineEvent;
  }
}

function play(words: string[], from: MachineState = initial): [MachineState, string[]] {
  let state = from;
  let effects: Effect[] = [];
  for (const each of words) [state, effects] = step(state, event(each), env);
  return [state, effects.map(told)];
}

const joined = ['want r', 'connect', 'opened 1', 'joined 1 r'];
const live = [...joined, 'live 1 r'];
const handover = [...live, 'reconnect 1 300', 'timer handover'];
const waiting = [...live, 'closed 1 1012'];

// [what is found, what happened before, what happens, which effects, the client's phase, the room's phase]
type Row = [string, string[], string, string[], string, string];
const table: Row[] = [
  ['connecting opens a connection and limits its time', ['want r'], 'connect', ['open 1', 'timer open:1 10000'], 'connecting', 'offline'],
  ['connecting twice opens nothing more', ['connect'], 'connect', [], 'connecting', 'idle'],
  ['an open connection joins what is wanted', ['want r', 'want s', 'connect'], 'opened 1', ['cancel open:1', 'join 1 r', 'join 1 s'], 'online', 'joining'],
  ['a room wanted later is joined at once', ['connect', 'opened 1'], 'want r', ['join 1 r'], 'online', 'joining'],
  ['a join answered is catching up', joined.slice(0, 3), 'joined 1 r', [], 'online', 'catchingUp'],
  ['what is caught up is live', joined, 'live 1 r', [], 'online', 'live'],
  ['a connection that does not open is given up', ['connect'], 'timer open:1', ['shut 1 4001', 'cancel open:1', 'timer reopen 500'], 'waiting', 'idle'],
  ['the time to open does not count once open', ['connect', 'opened 1'], 'timer open:1', [], 'online', 'idle'],

  ['1012 comes back within a second', live, 'closed 1 1012', ['timer reopen 500'], 'waiting', 'offline'],
  ['1008 comes back with back-off', live, 'closed 1 1008', ['timer reopen 250'], 'waiting', 'offline'],
  ['4500 ends', live, 'closed 1 4500', ['end'], 'refused', 'idle'],
  ['the wait over, a connection is opened', waiting, 'timer reopen', ['open 2', 'timer open:2 10000'], 'connecting', 'offline'],
  ['the second attempt waits by back-off', [...waiting, 'timer reopen'], 'closed 2 1006', ['cancel open:2', 'timer reopen 250'], 'waiting', 'offline'],
  ['the third waits longer', [...waiting, 'timer reopen', 'closed 2 1006', 'timer reopen'], 'closed 3 1006', ['cancel open:3', 'timer reopen 500'], 'waiting', 'offline'],
  ['opening alone does not reset the back-off', [...waiting, 'timer reopen', 'opened 2'], 'closed 2 1012', ['timer reopen 250'], 'waiting', 'offline'],
  ['a successful join resets it', [...waiting, 'timer reopen', 'opened 2', 'joined 2 r'], 'closed 2 1012', ['timer reopen 500'], 'waiting', 'offline'],
  ['retryNow ends a wait', waiting, 'retryNow', ['cancel reopen', 'open 2', 'timer open:2 10000'], 'connecting', 'offline'],
  ['retryNow does nothing else', live, 'retryNow', [], 'online', 'live'],
  ['silence closes and comes back soon', live, 'silent 1', ['shut 1 4000', 'timer reopen 500'], 'waiting', 'offline'],
  ['what a connection that is gone still says does not count', [...waiting, 'timer reopen', 'opened 2'], 'live 1 r', [], 'online', 'joining'],
  ['nor does its second end', [...waiting, 'timer reopen', 'opened 2'], 'closed 1 4500', [], 'online', 'joining'],
  ['closing closes cleanly and ends', live, 'close', ['shut 1 1000', 'end'], 'closed', 'idle'],
  ['closing ends a wait', waiting, 'close', ['cancel reopen', 'end'], 'closed', 'idle'],
  ['closed is closed', [...live, 'close'], 'connect', [], 'closed', 'idle'],

  ['a busy server is asked again later', joined.slice(0, 3), 'joinFailed 1 r -32013 retry 700', ['timer join:1:r 950'], 'online', 'waiting'],
  ['the wait over, it is asked', [...joined.slice(0, 3), 'joinFailed 1 r -32013 retry 700'], 'timer join:1:r', ['join 1 r'], 'online', 'joining'],
  ['then later still', [...joined.slice(0, 3), 'joinFailed 1 r -32013 retry 700', 'timer join:1:r'], 'joinFailed 1 r -32013 retry 700', ['timer join:1:r 1200'], 'online', 'waiting'],
  ['a connection that ends takes its waits along', [...joined.slice(0, 3), 'joinFailed 1 r -32013 retry 700'], 'closed 1 1012', ['cancel join:1:r', 'timer reopen 500'], 'waiting', 'offline'],
  ['a taken name ends a first join', joined.slice(0, 3), 'joinFailed 1 r -32001', ['giveUp r -32001'], 'online', 'idle'],
  ['a taken name that will be free is waited for', joined.slice(0, 3), 'joinFailed 1 r -32001 retry 5000', ['timer join:1:r 5250'], 'online', 'waiting'],
  ['a taken name at a return is waited for', [...waiting, 'timer reopen', 'opened 2'], 'joinFailed 2 r -32001', ['timer join:2:r 250'], 'online', 'waiting'],
  ['too many at a return is waited for', [...waiting, 'timer reopen', 'opened 2'], 'joinFailed 2 r -32012', ['timer join:2:r 250'], 'online', 'waiting'],
  ['not authorised at a return is final', [...waiting, 'timer reopen', 'opened 2'], 'joinFailed 2 r -32011', ['giveUp r -32011'], 'online', 'idle'],
  ['a draining server is left at once', joined.slice(0, 3), 'joinFailed 1 r -32016 retry 9', ['shut 1 4002', 'timer reopen 500'], 'waiting', 'offline'],
  ['with another room live there, it is handed over', [...live, 'want s'], 'joinFailed 1 s -32016 retry 9', ['timer handover 9'], 'online', 'live'],

  ['no member there: joined again at once', live, 'notMember 1 r', ['join 1 r'], 'online', 'joining'],
  ['again no member before it is live: later', [...live, 'notMember 1 r', 'joined 1 r'], 'notMember 1 r', ['timer join:1:r 500'], 'online', 'waiting'],
  ['astray: joined again at once', joined, 'astray 1 r', ['join 1 r'], 'online', 'joining'],
  ['astray before the answer means nothing new', [...joined, 'astray 1 r'], 'astray 1 r', [], 'online', 'joining'],
  ['live again, the next time is at once again', [...live, 'astray 1 r', 'joined 1 r', 'live 1 r'], 'astray 1 r', ['join 1 r'], 'online', 'joining'],
  ['leaving tells the server', live, 'unwant r', ['leave 1 r'], 'online', 'idle'],
  ['leaving while waiting cancels', [...joined.slice(0, 3), 'joinFailed 1 r -32013 retry 700'], 'unwant r', ['cancel join:1:r'], 'online', 'idle'],

  ['asked to hand over, it waits as asked', live, 'reconnect 1 300', ['timer handover 300'], 'online', 'live'],
  ['asked twice, it waits once', [...live, 'reconnect 1 300'], 'reconnect 1 300', [], 'online', 'live'],
  ['then the new connection is opened beside the old', [...live, 'reconnect 1 300'], 'timer handover', ['open 2', 'timer open:2 10000'], 'online', 'live'],
  ['the new one joins while the old is live', handover, 'opened 2', ['cancel open:2', 'join 2 r'], 'online', 'live'],
  ['joined there, the old one stays', [...handover, 'opened 2'], 'joined 2 r', [], 'online', 'live'],
  ['live there, the old one is closed', [...handover, 'opened 2', 'joined 2 r'], 'live 2 r', ['shut 1 1000'], 'online', 'live'],
  ['the old one ends early: the new one goes on', [...handover, 'opened 2'], 'closed 1 1012', [], 'online', 'joining'],
  ['the old one ends before the new one is open', handover, 'closed 1 1012', [], 'connecting', 'offline'],
  ['the new one fails: tried again, the old one stays', handover, 'closed 2 1006', ['cancel open:2', 'timer handover 500'], 'online', 'live'],
  ['fails again: later', [...handover, 'closed 2 1006', 'timer handover'], 'closed 3 1006', ['cancel open:3', 'timer handover 250'], 'online', 'live'],
  ['the old one ends while the new one is waited for', [...handover, 'closed 2 1006'], 'closed 1 1012', ['cancel handover', 'timer reopen 250'], 'waiting', 'offline'],
  ['the new server refuses for good: the old one stays', handover, 'closed 2 4500', ['cancel open:2'], 'online', 'live'],
  ['nor is it asked to hand over any more', [...handover, 'closed 2 4500'], 'reconnect 1 300', [], 'online', 'live'],
  ['until it ends, too', [...handover, 'closed 2 4500'], 'closed 1 1012', ['end'], 'refused', 'idle'],
  ['the old one ends before its delay is over', [...live, 'reconnect 1 300'], 'closed 1 1012', ['cancel handover', 'timer reopen 500'], 'waiting', 'offline'],
  ['the new server is busy: the old one stays', [...handover, 'opened 2'], 'joinFailed 2 r -32013 retry 700', ['timer join:2:r 950'], 'online', 'live'],
  ['the new server drains, too: another is sought', [...handover, 'opened 2'], 'joinFailed 2 r -32016 retry 9', ['shut 2 4002', 'timer handover 500'], 'online', 'live'],
  ['every room must be live there', ['want s', ...live, 'joined 1 s', 'live 1 s', 'reconnect 1 0', 'timer handover', 'opened 2', 'joined 2 r', 'joined 2 s'], 'live 2 r', [], 'online', 'live'],
  ['then the old one is closed', ['want s', ...live, 'joined 1 s', 'live 1 s', 'reconnect 1 0', 'timer handover', 'opened 2', 'joined 2 r', 'joined 2 s', 'live 2 r'], 'live 2 s', ['shut 1 1000'], 'online', 'live'],
  ['leaving the room that is missing there closes the old one', [...handover, 'opened 2'], 'unwant r', ['leave 1 r', 'leave 2 r', 'shut 1 1000'], 'online', 'idle'],
  ['without rooms the old one is closed when the new one is open', ['connect', 'opened 1', 'reconnect 1 0', 'timer handover'], 'opened 2', ['cancel open:2', 'shut 1 1000'], 'online', 'idle'],
  ['the new server asks to be left, too: after this hand-over', [...handover, 'opened 2', 'joined 2 r', 'reconnect 2 40'], 'live 2 r', ['shut 1 1000', 'timer handover 40'], 'online', 'live'],
  ['the old one asks again while it is being left: nothing', [...handover, 'opened 2'], 'reconnect 1 300', [], 'online', 'live'],
  ['a hand-over that waits ends with close', [...live, 'reconnect 1 300'], 'close', ['shut 1 1000', 'cancel handover', 'end'], 'closed', 'idle'],
];

for (const [finding, before, happens, effects, client, room] of table) {
  test(finding, () => {
    const [state] = play(before);
    const frozen = JSON.stringify(state);
    const [after, found] = play([happens], state);
    assert.deepEqual(found, effects);
    assert.deepEqual([clientPhase(after), roomPhase(after, 'r')], [client, room]);
    assert.equal(JSON.stringify(state), frozen, 'the state before was changed in place');
  });
}

test('messages go out on the newest connection on which the room is joined', () => {
  const rows: [string[], number | undefined][] = [
    [joined.slice(0, 3), undefined],
    [joined, 1],
    [[...handover, 'opened 2'], 1],
    [[...handover, 'opened 2', 'joined 2 r'], 2],
    [[...handover, 'opened 2', 'joined 2 r', 'closed 2 1006'], 1],
    [[...handover, 'opened 2', 'joined 2 r', 'live 2 r'], 2],
    [waiting, undefined],
  ];
  for (const [words, link] of rows) assert.equal(sendingLink(play(words)[0], 'r'), link, words.join(', '));
});

test('every close code has its return', () => {
  const rows: [string, number[]][] = [
    ['never', [1002, 1003, 1007, 1009, 4500, 4501, 4999]],
    ['now', [1001, 1005, 1006, 1012, 1013]],
    ['later', [1000, 1008, 1010, 1011, 1014, 3000, 4000, 4008, 4499]],
  ];
  for (const [how, codes] of rows) for (const code of codes) assert.equal(returnOf(code), how, String(code));
});

test('waits are random within a span that grows from half a second to ten', () => {
  assert.deepEqual([0, 0.5, 0.999].map((c) => reconnectMs('now', 0, c)), [0, 500, 999]);
  assert.deepEqual([1, 2, 3, 4, 5, 6, 60].map((n) => reconnectMs('now', n, 0.5)), [250, 500, 1000, 2000, 4000, 5000, 5000]);
  assert.equal(reconnectMs('later', 0, 0.5), 250);
  assert.equal(backoffMs(3, 0), 0);
  assert.ok(backoffMs(1000, 0.999999) < 10_000);
});

test('names that an object already has are rooms like any other', () => {
  for (const room of ['__proto__', 'constructor', 'toString', 'a:b', 'join:1:r']) {
    const [before] = play(['connect', 'opened 1']);
    assert.equal(roomPhase(before, room), 'idle');
    const [wanted] = step(before, { on: 'want', room }, env);
    const error = { code: -32013, message: '', retryable: true, retryAfterMs: 0 };
    const [waits, effects] = step(wanted, { on: 'joinFailed', link: 1, room, error }, env);
    assert.equal(roomPhase(waits, room), 'waiting');
    const timer = (effects[0] as { timer: string }).timer;
    const [, again] = step(waits, { on: 'timer', timer }, env);
    assert.deepEqual(again, [{ do: 'join', link: 1, room }]);
  }
});
