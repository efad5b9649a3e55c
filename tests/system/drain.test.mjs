// Promise 8: leaving is invisible. A drained node loses nothing, sends its members away spread over the window, and ends.
import assert from 'node:assert/strict';
import test from 'node:test';
import { ClassicClient } from './lib/classic.mjs';
import { Member, refusedUpgrade, texts } from './lib/member.mjs';
import { assertDense } from './lib/order.mjs';
import { get, long, withServer } from './lib/server.mjs';
import { until, within } from './lib/until.mjs';
import { newUserKey } from './lib/v2.mjs';

const rooms = ['north', 'south'];
const windowMs = long ? 20_000 : 4_000;
const draining = -32016;
/** Between the end of the window and the end of the process: closes, the store, and a machine with much else to do. */
const marginMs = 5_000;

test('members are sent away one by one over the window, who stays is closed at its end, nothing said is lost', async () => {
  await withServer({ args: ['--drain-window', `${windowMs}ms`, '--rate-limits', 'off', '--shards', '2'] }, async (server) => {
    const members = [], classics = [];
    for (let i = 0; i < 16; ++i) {
      const member = await Member.connect(server.address);
      const userKey = newUserKey();
      await member.join(rooms[i % 2], `Member ${i}`, { userKey });
      const each = { i, member, userKey, roomName: rooms[i % 2], said: [], closedAt: 0, toldAt: 0 };
      member.peer.on('close', () => { each.closedAt = performance.now(); });
      member.peer.on('text', (text) => { if (text.includes('"method":"reconnect"')) each.toldAt ||= performance.now(); });
      members.push(each);
      if (i % 4 !== 3) continue;
      // They are not back before the end: what is asked here is how they are closed.
      const classic = new ClassicClient({ address: server.address, userName: `Classic ${i}`, reconnectAfterMs: 60_000 });
      await classic.isConnected();
      await classic.joinRoom(rooms[i % 2]);
      const at = { classic, closedAt: 0 };
      classic.current?.on('close', () => { at.closedAt = performance.now(); });
      classics.push(at);
    }
    try {
      // All talk until they are closed; what is unacked then is in doubt and sent again afterwards.
      const talks = members.map(async ({ member, said, roomName }) => {
        while (member.peer.isOpen) {
          const [request] = texts(roomName, 1, `${said.length}`);
          said.push(request[1]);
          await member.call(...request).then((result) => { request[1].position = result._id; }, () => {});
          await new Promise((passed) => setTimeout(passed, 30));
        }
      });
      await until('they talk', () => members.every(({ said }) => said.length > 3));

      const beganAt = performance.now();
      server.signal('SIGTERM');
      await members[0].member.hears('reconnect');
      assert.equal((await get(`${server.internalUrl}/readyz`)).status, 503);
      assert.equal((await get(`${server.internalUrl}/healthz`)).status, 200);
      const { status, head } = await refusedUpgrade(server.address);
      assert.equal(status, 503);
      assert.match(head, /^retry-after: *\d+\r?$/im);

      await Promise.all(members.map(({ member }) => member.hears('reconnect')));
      const asked = members.map(({ member }) => member.heard('reconnect')[0]);
      for (const { afterMs, deadlineMs, reason } of asked) {
        assert.ok(deadlineMs > 0 && deadlineMs <= windowMs, `deadlineMs ${deadlineMs}`);
        assert.ok(afterMs >= 0 && afterMs < deadlineMs, `afterMs ${afterMs} of ${deadlineMs}`);
        assert.equal(typeof reason, 'string');
      }
      // Spread: each quarter of the time in which they go has its own.
      const quarters = new Set(asked.map(({ afterMs }) => Math.floor(afterMs / (windowMs * 0.8 / 4))));
      assert.deepEqual([...quarters].sort(), [0, 1, 2, 3], asked.map(({ afterMs }) => afterMs).join());

      // A join finds no open door here, a text does. All of them may be gone before the end but the last two.
      await assert.rejects(members[15].member.join('another room', 'Member 15'), (error) => error.code === draining && error.data.retryable === true);
      const last = await members[14].member.text(members[14].roomName, 'said while it leaves');
      assert.equal(last.repeated, false);
      // Those who find another place leave in their time; the others stay.
      const leavers = members.filter(({ i }) => i % 4 === 0);
      const stayers = members.filter(({ i }) => i % 4 !== 0);
      for (const leaver of leavers) {
        const { afterMs } = leaver.member.heard('reconnect')[0];
        setTimeout(() => void leaver.member.close(), Math.max(0, leaver.toldAt + afterMs - performance.now()));
      }

      const ended = await within('it ends', server.ended, windowMs + marginMs);
      const tookMs = performance.now() - beganAt;
      assert.deepEqual(ended, { code: 0, signal: null });
      assert.ok(tookMs >= windowMs - 50, `it ended after ${tookMs} ms of ${windowMs} although somebody stayed`);
      await within('all talk is over', Promise.all(talks));
      for (const { member, closedAt, toldAt } of stayers) {
        assert.equal((await member.closed).code, 1012);
        assert.ok(closedAt - toldAt >= member.heard('reconnect')[0].deadlineMs - 100, `closed after ${closedAt - toldAt} ms`);
        assert.equal(member.heard('reconnect').length, 1);
      }
      for (const { member } of leavers) assert.equal((await member.closed).byServer, false);
      for (const { classic } of classics) assert.deepEqual(classic.closes.map(({ code }) => code), [1012]);
      const moments = classics.map(({ closedAt }) => closedAt).sort((a, b) => a - b);
      assert.ok(moments.at(-1) - moments[0] > windowMs * 0.3, `classic members were closed together: ${moments}`);

      const rows = await server.readStore();
      for (const { member, said, roomName } of members) {
        assert.ok(said.some(({ position }) => position));
        const log = rows.get(roomName);
        const places = new Map(log.map(({ sequence, chain, uuid }) => [uuid, `${sequence}-${chain}`]));
        for (const { uuid, position } of said) if (position) assert.equal(places.get(uuid), position, 'an acked message is not in the log');
        assertDense(member.messages(roomName), 1);
      }

      // The next node: everybody catches up, and what was in doubt is sent again and stands there once.
      await server.start();
      for (const { i, member, userKey, roomName, said } of members) {
        const back = await Member.connect(server.address);
        const held = member.messages(roomName).at(-1);
        await back.join(roomName, `Member ${i}`, { userKey, lastMessageId: held._id });
        const doubtful = said.filter(({ position }) => !position);
        for (const { uuid, text } of doubtful) await back.text(roomName, text, uuid);
        await back.hears('live');
        assertDense(back.messages(roomName), held.sequence + 1);
      }
      await server.kill();
      const after = await server.readStore();
      const uuids = rooms.flatMap((roomName) => after.get(roomName).map(({ uuid }) => uuid));
      assert.equal(new Set(uuids).size, uuids.length);
      for (const { said, roomName } of members) {
        const mine = new Set(said.map(({ uuid }) => uuid));
        assert.deepEqual(after.get(roomName).filter(({ uuid }) => mine.has(uuid)).map(({ text }) => text).filter((text) => /^\d+ 1$/.test(text)),
          said.map(({ text }) => text), 'each once and in the order said');
      }
    } finally {
      await Promise.all(classics.map(({ classic }) => classic.stop()));
    }
  });
});

test('it does not wait for the end of the window when all have gone', async () => {
  await withServer({ args: ['--drain-window', '10m'] }, async (server) => {
    const members = [];
    for (let i = 0; i < 4; ++i) {
      members.push(await Member.connect(server.address));
      await members[i].join('room', `Member ${i}`);
    }
    server.signal('SIGTERM');
    await Promise.all(members.map(async (member) => {
      await member.hears('reconnect');
      await member.close();
    }));
    assert.deepEqual(await within('it ends', server.ended, 15_000), { code: 0, signal: null });
  });
});

test('a second SIGTERM ends at once, and what was acked is there', async () => {
  await withServer({ args: ['--drain-window', '10m', '--rate-limits', 'off'] }, async (server) => {
    const member = await Member.connect(server.address);
    await member.join('room', 'Ana');
    server.signal('SIGTERM');
    await member.hears('reconnect');
    const requests = texts('room', 300);
    member.burst(requests);
    await until('some are acked', () => member.answers.filter(({ result }) => result?._id).length > 50);
    server.signal('SIGTERM');
    const ended = await within('it ends', server.ended, 15_000);
    assert.deepEqual(ended, { code: 0, signal: null });
    const { code } = await member.closed;
    assert.ok(code === 1012 || code === 1006, `closed with ${code}`);
    const acked = member.answers.flatMap(({ result }) => (result?._id ? [result._id] : []));
    const log = (await server.readStore()).get('room').map(({ sequence, chain }) => `${sequence}-${chain}`);
    assert.deepEqual(acked, log.slice(0, acked.length));
  });
});
