// Promise 7: a name is one user's.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as pass } from 'node:timers/promises';
import { Member } from './lib/member.mjs';
import { isCluster, long, withServer } from './lib/server.mjs';
import { until } from './lib/until.mjs';
import { newUserKey, Refused } from './lib/v2.mjs';
import { ClassicClient } from './lib/classic.mjs';

const room = 'room';
const nameTaken = -32001;
const racersCount = 20, roundsCount = 6;
/** So long that nothing in a test can have happened because it was over. */
const endless = '10m';

/** @returns {Promise<'admitted'|Refused>} */
const attempt = (member, userName, more = {}, roomName = room) =>
  member.join(roomName, userName, more).then(() => 'admitted', (error) => {
    if (error instanceof Refused) return error;
    throw error;
  });
/** The first outcome on one node; on several, the end of somebody's session is known elsewhere only when it is written down. */
async function outcomeOnce(wanted, ask) {
  let outcome = await ask();
  if (isCluster) await until('the other nodes know of the end', async () => wanted(outcome) || wanted(outcome = await ask()), 2_000, () => outcome);
  return outcome;
}
const heardOf = (member, method, userName) => member.heard(method).filter((params) => params.userName === userName).length;

test(`of ${racersCount} who want one name at the same time, over two shards, one gets it, again and again`, async () => {
  await withServer({ args: ['--shards', '2'] }, async (server) => {
    const racers = [];
    for (let i = 0; i < racersCount; ++i) racers.push(await Member.connect(server.address));
    const spellings = ['Racer', 'racer', 'RACER ', 'Ｒacer'];
    for (let round = 1; round <= roundsCount; ++round) {
      const outcomes = await Promise.all(racers.map((racer, i) => attempt(racer, spellings[i % spellings.length])));
      const winners = racers.filter((_, i) => outcomes[i] === 'admitted');
      assert.equal(winners.length, 1, `round ${round}: ${winners.length} were admitted`);
      for (const outcome of outcomes.filter((each) => each !== 'admitted')) assert.equal(outcome.code, nameTaken);
      const { total, members } = await winners[0].call('members', { roomName: room });
      assert.deepEqual([total, members.length], [1, 1]);
      await winners[0].call('leaveRoom', { roomName: room });
    }
    // Nobody was closed for having lost.
    await Promise.all(racers.map((racer) => racer.call('ping')));
  });
});

test('after an unclean end the name waits for its user: others are told when to try again, he is admitted at once', async () => {
  await withServer({ args: ['--name-grace', endless] }, async (server) => {
    const userKey = newUserKey();
    const [owner, witness, other] = await Promise.all([1, 2, 3].map(() => Member.connect(server.address)));
    await owner.join(room, 'Owner', { userKey });
    await witness.join(room, 'Witness');
    await owner.cut();
    let refusal;
    await until('the name is kept', async () => {
      refusal = await attempt(other, 'Owner');
      assert.notEqual(refusal, 'admitted', 'somebody else got the name');
      assert.equal(refusal.code, nameTaken);
      return refusal.data?.retryable;
    });
    assert.ok(refusal.data.retryAfterMs > 0 && refusal.data.retryAfterMs <= 600_000, JSON.stringify(refusal.data));
    const back = await Member.connect(server.address);
    assert.equal(await attempt(back, 'Owner', { userKey }), 'admitted');
    // And without a word to anybody: he was never gone.
    await other.join(room, 'Other');
    await witness.hears('userJoined', ({ userName }) => userName === 'Other');
    assert.deepEqual([heardOf(witness, 'userJoined', 'Owner'), heardOf(witness, 'userLeft', 'Owner')], [0, 0]);
  });
});

test('when the grace is over the name is free, not before, and the others hear that he left', async () => {
  const graceMs = long ? 10_000 : 1_500;
  await withServer({ args: ['--name-grace', `${graceMs}ms`] }, async (server) => {
    const [owner, witness, other] = await Promise.all([1, 2, 3].map(() => Member.connect(server.address)));
    await witness.join(room, 'Witness');
    await owner.join(room, 'Owner');
    const cutAt = performance.now();
    owner.peer.cut();
    for (let outcome; outcome !== 'admitted';) {
      outcome = await attempt(other, 'owner');
      // As a client does that was told when.
      if (outcome !== 'admitted') await pass(Math.max(20, outcome.data?.retryAfterMs ?? 0));
      assert.ok(performance.now() - cutAt < 30_000, 'the name is never free');
    }
    const tookMs = performance.now() - cutAt;
    assert.ok(tookMs >= graceMs - 5, `free after ${tookMs} ms of ${graceMs}`);
    await witness.hears('userJoined', ({ userName }) => userName === 'owner');
    await witness.hears('userLeft', ({ userName }) => userName === 'Owner');
    assert.equal(heardOf(witness, 'userLeft', 'Owner'), 1);
  });
});

test('a clean end frees the name at once', async () => {
  await withServer({ args: ['--name-grace', endless] }, async (server) => {
    const witness = await Member.connect(server.address);
    await witness.join(room, 'Witness');
    const ends = {
      leaveRoom: (member) => member.call('leaveRoom', { roomName: room }),
      1000: (member) => member.close(1000),
      1001: (member) => member.close(1001),
    };
    for (const [how, end] of Object.entries(ends)) {
      const owner = await Member.connect(server.address);
      await owner.join(room, `Name ${how}`);
      await end(owner);
      const next = await Member.connect(server.address);
      const outcome = await outcomeOnce((each) => each === 'admitted', () => attempt(next, `Name ${how}`));
      assert.equal(outcome, 'admitted', how);
      // After a reload he would be shown as left only if he does not come back; now he is not the holder any more.
      if (how !== '1001') await witness.hears('userLeft', ({ userName }) => userName === `Name ${how}`);
    }
    // All else is unclean, a close with another code or none too.
    for (const code of [1005, 4321]) {
      const owner = await Member.connect(server.address);
      await owner.join(room, `Name ${code}`);
      await owner.close(code);
      const next = await Member.connect(server.address);
      const refusal = await outcomeOnce((each) => each === 'admitted' || each.data?.retryable, () => attempt(next, `Name ${code}`));
      assert.deepEqual([refusal.code, refusal.data?.retryable], [nameTaken, true], `${code}`);
    }
  });
});

test('names that look the same are one, in both dialects', async () => {
  await withServer({}, async (server) => {
    const same = [
      ['Alice', 'ALICE'], ['Alice', ' alice '], ['Alice', 'Ａｌｉｃｅ'], ['fiona', 'ﬁona'], ['Straße', 'STRASSE'],
      ['Zoë', 'Zoe\u0308'], ['Ⅳ', 'iv'],
    ];
    for (const [at, [name, other]] of same.entries()) {
      const roomName = `same ${at}`;
      const [first, second] = await Promise.all([Member.connect(server.address), Member.connect(server.address)]);
      await first.join(roomName, name);
      assert.equal((await attempt(second, other, {}, roomName)).code, nameTaken, `${name} and ${other}`);
      // The same user may spell his name as he likes; he is known by the name he came with.
      const again = await Member.connect(server.address);
      const { userKey } = first.answers[0].result;
      assert.equal(await attempt(again, other, { userKey }, roomName), 'admitted');
      assert.equal((await again.call('members', { roomName })).total, 1);
      assert.equal(await attempt(second, `${name}2`, {}, roomName), 'admitted');
    }
    const classic = new ClassicClient({ address: server.address, userName: 'Carla' });
    try {
      await classic.isConnected();
      await classic.joinRoom(room);
      const v2 = await Member.connect(server.address);
      assert.equal((await attempt(v2, 'CARLA')).code, nameTaken);
      await v2.join(room, 'Dora');
      const other = new ClassicClient({ address: server.address, userName: 'dora' });
      await other.isConnected();
      await assert.rejects(other.joinRoom(room));
      assert.equal(other.errors.at(-1)?.code, nameTaken);
      await other.stop();
    } finally {
      await classic.stop();
    }
  });
});

test('a user with several sessions is one: joined once, left once, and no session is refused or closed', async () => {
  await withServer({ args: ['--name-grace', endless, '--shards', '2'] }, async (server) => {
    const userKey = newUserKey();
    const witness = await Member.connect(server.address);
    await witness.join(room, 'Witness');
    const sessions = [];
    for (let i = 0; i < 6; ++i) sessions.push(await Member.connect(server.address));
    await Promise.all(sessions.map((session) => session.join(room, 'Many', { userKey })));
    assert.equal((await witness.call('members', { roomName: room })).total, 2);
    const { sequence } = await sessions[0].text(room, 'to all of me');
    await Promise.all(sessions.map((session) => session.reaches(room, sequence)));

    const last = sessions.pop();
    const ends = [(s) => s.cut(), (s) => s.close(1000), (s) => s.call('leaveRoom', { roomName: room }), (s) => s.close(1001), (s) => s.cut()];
    for (const [i, session] of sessions.entries()) {
      await ends[i](session);
      await last.call('ping');
    }
    await until('only one is left', async () => (await server.metric('tertulia_members')) === 2);
    const fence = await Member.connect(server.address);
    await fence.join(room, 'Fence');
    await witness.hears('userJoined', ({ userName }) => userName === 'Fence');
    assert.deepEqual([heardOf(witness, 'userJoined', 'Many'), heardOf(witness, 'userLeft', 'Many')], [1, 0]);
    await last.text(room, 'still here');
    await last.close(1000);
    await witness.hears('userLeft', ({ userName }) => userName === 'Many');
    await fence.call('leaveRoom', { roomName: room });
    await witness.hears('userLeft', ({ userName }) => userName === 'Fence');
    assert.deepEqual([heardOf(witness, 'userJoined', 'Many'), heardOf(witness, 'userLeft', 'Many')], [1, 1]);
  });
});

test('a reload is seen by nobody, and who does not come back from one has left after the grace', async () => {
  const graceMs = long ? 10_000 : 3_000;
  await withServer({ args: ['--name-grace', `${graceMs}ms`] }, async (server) => {
    const witness = await Member.connect(server.address);
    await witness.join(room, 'Witness');
    const userKey = newUserKey();
    let owner = await Member.connect(server.address);
    await owner.join(room, 'Owner', { userKey });
    for (let i = 0; i < 3; ++i) {
      const closedAt = performance.now();
      await owner.close(1001);
      owner = await Member.connect(server.address);
      await owner.join(room, 'Owner', { userKey });
      assert.ok(performance.now() - closedAt < graceMs, 'this machine is too slow for the test to say anything');
    }
    // Somebody who closes later and stays away: when he has left, the owner's grace is over too.
    const gone = await Member.connect(server.address);
    await gone.join(room, 'Gone');
    await gone.close(1001);
    await witness.hears('userLeft', ({ userName }) => userName === 'Gone', graceMs + 15_000);
    assert.deepEqual([heardOf(witness, 'userJoined', 'Owner'), heardOf(witness, 'userLeft', 'Owner')], [1, 0]);
    assert.equal((await witness.call('members', { roomName: room })).total, 2);
  });
});
