// Promise 3: one uuid in a room is one message, however often, wherever and however late it is sent again.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';
import { fill, Member, texts } from './lib/member.mjs';
import { random } from './lib/random.mjs';
import { withServer } from './lib/server.mjs';
import { until } from './lib/until.mjs';
import { newUserKey } from './lib/v2.mjs';

const room = 'room';
const uuidReused = -32015;
const args = ['--rate-limits', 'off', '--shards', '2'];

async function come(server, userKey, name = 'Ana', more = {}) {
  const member = await Member.connect(server.address);
  await member.join(room, name, { userKey, ...more });
  return member;
}

test('sent again on another session, late, and after kills: one message, at its first position', async () => {
  await withServer({ args }, async (server) => {
    const userKey = newUserKey();
    let ana = await come(server, userKey);
    const uuid = randomUUID();
    const body = { roomName: room, text: 'once', uuid };
    const first = await ana.call('textMessage', { ...body, date: 'then' });
    assert.deepEqual([first.sequence, first.repeated], [1, false]);
    const same = { status: 'OK', _id: first._id, sequence: 1, repeated: true };
    const isTheSame = async (member) => {
      // Neither date nor name nor id belong to the body.
      assert.deepEqual(await member.call('textMessage', { ...body, date: 'now' }), same);
      await assert.rejects(member.call('textMessage', { ...body, text: 'twice', date: 'then' }), { code: uuidReused });
    };
    await isTheSame(ana);
    const again = await come(server, userKey);
    await isTheSame(again);
    await fill(again, room, 1_500);
    await isTheSame(ana);
    // Another user's is another body, and in another room it is another message.
    const ben = await come(server, newUserKey(), 'Ben');
    await assert.rejects(ben.call('textMessage', { ...body, date: 'then' }), { code: uuidReused });
    await ben.join('elsewhere', 'Ben');
    assert.equal((await ben.call('textMessage', { ...body, roomName: 'elsewhere', date: '' })).repeated, false);

    for (let start = 2; start <= 3; ++start) {
      await server.kill();
      await server.start();
      ana = await come(server, userKey, 'Ana', { lastMessageId: first._id, limit: 1 });
      await isTheSame(ana);
    }
    const other = await Member.connect(server.address);
    await other.join(room, 'Ben again', { lastMessageId: first._id, limit: 0 });
    await assert.rejects(other.call('textMessage', { ...body, date: 'then' }), { code: uuidReused });
    assert.equal((await other.text(room, 'next')).sequence, 1_502, 'no repeat has taken a place');
    await server.kill();
    const rows = (await server.readStore()).get(room);
    assert.deepEqual(rows.filter((row) => row.uuid === uuid).map(({ sequence, text, date }) => [sequence, text, date]), [[1, 'once', 'then']]);
  });
});

test('sent at the same time on sessions of both shards, each stands there once and all are told the same place', async () => {
  await withServer({ args }, async (server) => {
    const userKey = newUserKey();
    const sessions = [];
    for (let i = 0; i < 4; ++i) sessions.push(await come(server, userKey));
    const requests = texts(room, 400);
    const bursts = sessions.map((session) => session.burst(requests));
    const answers = await Promise.all(sessions.map((session, i) => session.answersTo(bursts[i])));
    const chance = random('what is asked again');
    for (let i = 0; i < requests.length; ++i) {
      const results = answers.map((each) => each[i].result);
      assert.deepEqual(new Set(results.map(({ _id }) => _id)).size, 1, `message ${i} has several places`);
      assert.equal(results.filter(({ repeated }) => !repeated).length, 1, `message ${i} was new ${JSON.stringify(results)}`);
      assert.equal(results[0].sequence, i + 1, 'in the order in which all have sent them');
    }
    const at = chance.below(requests.length);
    assert.equal((await sessions[0].call(...requests[at])).sequence, at + 1);
    for (const session of sessions) {
      await session.reaches(room, 400);
      assert.deepEqual(session.messages(room).map(({ params }) => params.uuid), requests.map(([, { uuid }]) => uuid));
    }
  });
});

test('killed in the middle of a burst: sent again, each is there once and in the order sent', async () => {
  await withServer({ args }, async (server) => {
    const userKey = newUserKey();
    const requests = texts(room, 3_000);
    let acked = [];
    for (let life = 1; ; ++life) {
      const ana = await come(server, userKey, 'Ana', acked.length > 0 ? { lastMessageId: acked.at(-1) } : {});
      // All of it again, as a client does that has heard of nothing.
      const ids = ana.burst(requests);
      if (life < 4) {
        await until('some are acked', () => ana.answers.filter(({ result }) => result?._id).length >= life * 300);
        await server.kill();
        acked = ana.answers.filter(({ result }) => result?._id).map(({ result }) => result._id);
        await server.start();
        continue;
      }
      const answers = await ana.answersTo(ids);
      assert.deepEqual(answers.map(({ result }) => result?.sequence), requests.map((_, i) => i + 1));
      assert.deepEqual(answers.slice(0, acked.length).map(({ result }) => result._id), acked, 'what was acked stays where it was');
      assert.ok(answers.slice(0, acked.length).every(({ result }) => result.repeated));
      break;
    }
    await server.kill();
    const rows = (await server.readStore()).get(room);
    assert.deepEqual(rows.map(({ uuid }) => uuid), requests.map(([, { uuid }]) => uuid));
  });
});
