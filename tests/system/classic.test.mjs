// Existing clients of the reference system, with all their habits (lib/classic.mjs): whatever they do, nothing is lost,
// they end with one connection, and no valid message stays unacked.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { ClassicClient } from './lib/classic.mjs';
import { assertAscending, assertClassicOrder, assertDense, assertOneLog } from './lib/order.mjs';
import { runBlockingLoop } from './lib/run_blocking_loop.mjs';
import { long, withServer } from './lib/server.mjs';
import { until, within } from './lib/until.mjs';
import { V2Client, newUserKey, startPosition } from './lib/v2.mjs';
import { WebSocketPeer } from './lib/websocket.mjs';

const soon = { reconnectAfterMs: 200 };

/** @param {ClassicClient} client @param {string} roomName */
function assertContent(client, roomName) {
  assert.deepEqual(client.violations, []);
  assert.equal(client.pending.size, 0);
  assert.equal(client.open.size, 1);
  assertClassicOrder(client, roomName);
  assertAscending(client.ackedIn(roomName));
}

/** Everything a room holds, as somebody sees it who comes anew. */
async function wholeLog(server, roomName) {
  const reader = await V2Client.connect(server.address);
  const { head } = await reader.join(roomName, `reader ${randomUUID()}`, { lastMessageId: startPosition(roomName) });
  await reader.reaches(roomName, Number(head.split('-')[0]));
  const messages = reader.messages(roomName);
  assertDense(messages, 1);
  await reader.close();
  return messages;
}

async function joined(server, roomName, userName, more = {}) {
  const client = new ClassicClient({ address: server.address, userName, ...soon, ...more });
  await client.isConnected();
  await client.joinRoom(roomName);
  return client;
}

/** A classic connection without the habits: frames in, frames out. */
async function rawClassic(server) {
  const peer = await WebSocketPeer.connect(server.address);
  const said = [];
  peer.on('text', (text) => said.push(JSON.parse(text)));
  let id = 100;
  const ask = (method, params) => {
    peer.send(JSON.stringify({ jsonrpc: '2.0', method, params, id: ++id }));
    return id;
  };
  const answer = (id) => until(`request ${id} is answered`, () => said.find((each) => each.id === id && !each.method));
  const texts = () => said.filter((each) => each.method === 'textMessage');
  return { peer, said, ask, answer, texts };
}
const who = (userName, roomName, more = {}) => ({ userId: `id of ${userName}`, userName, roomName, ...more });
const message = (userName, roomName, text, uuid = randomUUID()) =>
  ({ ...who(userName, roomName), text, ack: false, uuid, date: 'whenever' });

test('who resends everything before every send has each message stored once, in the order sent', () =>
  withServer({}, async (server) => {
    const [ana, bo] = [await joined(server, 'plaza', 'Ana'), await joined(server, 'plaza', 'Bo')];
    for (let i = 0; i < 60; ++i) {
      ana.sendText(`ana ${i}`);
      bo.sendText(`bo ${i}`);
    }
    await ana.allAcked();
    await bo.allAcked();
    await until('both have heard all', () => ana.heard('plaza').length === 120 && bo.heard('plaza').length === 120);
    const log = await wholeLog(server, 'plaza');
    assert.equal(log.length, 120);
    for (const [client, name] of [[ana, 'ana'], [bo, 'bo']]) {
      assert.deepEqual(client.ackedIn('plaza').map((push) => push.params.text), Array.from({ length: 60 }, (_, i) => `${name} ${i}`));
      assertContent(client, 'plaza');
      assert.deepEqual(client.errors, []);
    }
    assertOneLog(log, ana.heard('plaza'), bo.heard('plaza'));
    await Promise.all([ana.stop(), bo.stop()]);
  }));

test('after ten drains a client holds exactly one open connection, and has lost nothing', () =>
  withServer({ args: ['--drain-window', '100ms'] }, async (server) => {
    const ana = await joined(server, 'plaza', 'Ana', { reconnectAfterMs: long ? 5_000 : 200 });
    const bo = await joined(server, 'plaza', 'Bo', { reconnectAfterMs: long ? 5_000 : 200 });
    for (let drain = 1; drain <= 10; ++drain) {
      ana.sendText(`before drain ${drain}`);
      server.signal('SIGTERM');
      ana.sendText(`in drain ${drain}`);
      const { code } = await server.ended;
      assert.equal(code, 0);
      bo.sendText(`while it is away ${drain}`);
      await server.start();
      await ana.allAcked();
      await bo.allAcked();
      // What was acked before its connection closed says nothing about the next one.
      await ana.isConnected();
      await bo.isConnected();
    }
    await until('both have heard all', () => ana.heard('plaza').length === 30 && bo.heard('plaza').length === 30, 20_000,
      () => [ana.heard('plaza').length, bo.heard('plaza').length]);
    for (const client of [ana, bo]) {
      assertContent(client, 'plaza');
      assert.deepEqual(client.errors, []);
      assert.equal(client.closes.length, 10);
      assert.ok(client.closes.every((how) => how.code === 1012), JSON.stringify(client.closes));
    }
    assert.equal(await server.metric('tertulia_sessions'), 2);
    assertOneLog(await wholeLog(server, 'plaza'), ana.heard('plaza'), bo.heard('plaza'));
    await Promise.all([ana.stop(), bo.stop()]);
  }));

test('who heard nobody else reconnects with null, and is acked even from before the history it gets', () =>
  withServer({ args: ['--max-messages-history', '5'] }, async (server) => {
    const ana = await joined(server, 'plaza', 'Ana');
    ana.block();
    for (let i = 0; i < 20; ++i) ana.sendText(`ana ${i}`);
    const reader = await V2Client.connect(server.address);
    await reader.join('plaza', 'Reader', { lastMessageId: startPosition('plaza') });
    await reader.reaches('plaza', 20);
    for (let i = 0; i < 10; ++i) await reader.text('plaza', `reader ${i}`);
    for (const peer of ana.open) peer.cut();
    assert.equal(ana.lastMessageId, null);
    assert.equal(ana.pending.size, 20);
    await ana.allAcked();
    assert.equal(ana.acked.length, 20);
    assertContent(ana, 'plaza');
    assert.equal((await wholeLog(server, 'plaza')).length, 30);
    await ana.stop();
  }));

test('a position that is foreign, of another room, beyond the head or of another past counts as null', () =>
  withServer({ args: ['--max-messages-history', '3'] }, async (server) => {
    const writer = await rawClassic(server);
    await writer.answer(writer.ask('joinRoom', who('Writer', 'plaza', { lastMessageId: null })));
    for (let i = 0; i < 8; ++i) writer.ask('textMessage', message('Writer', 'plaza', `said ${i}`));
    await until('all are committed', () => writer.texts().length === 8);
    writer.ask('joinRoom', who('Writer', 'market', { lastMessageId: null }));
    writer.ask('textMessage', message('Writer', 'market', 'elsewhere'));
    await until('the other room has one', () => writer.texts().length === 9);
    const ofMarket = writer.texts()[8]._id;
    const [, , ofPlaza] = writer.texts();
    const positions = [
      null, '5f2b9c1e8a7d4b0012345678', '', 'nonsense', ofMarket, '99-AAAAAAAAAAAAAAAA', '3-AAAAAAAAAAAAAAAA',
      `${2 ** 60}-AAAAAAAAAAAAAAAA`, `-1-${ofPlaza._id.slice(2)}`, '9223372036854775808-AAAAAAAAAAAAAAAA', 17, {}, ['x'], true,
    ];
    for (const [number, lastMessageId] of positions.entries()) {
      const client = await rawClassic(server);
      const answer = await client.answer(client.ask('reconnect', who(`Reader ${number}`, 'plaza', { lastMessageId, sessionId: 'x' })));
      assert.equal(answer.result, 'OK', JSON.stringify(lastMessageId));
      await until('the newest history has come', () => client.texts().length === 3);
      assert.deepEqual(client.texts().map((push) => push.sequence), [6, 7, 8], JSON.stringify(lastMessageId));
      assert.ok(!client.said.some((each) => each.method === 'newUser'), 'a reconnect is not announced');
      client.peer.close();
    }
    const fitting = await rawClassic(server);
    await fitting.answer(fitting.ask('reconnect', who('Back', 'plaza', { lastMessageId: ofPlaza._id, sessionId: 'x' })));
    await until('everything after the position has come', () => fitting.texts().length === 5);
    assert.deepEqual(fitting.texts().map((push) => push.sequence), [4, 5, 6, 7, 8]);
    fitting.peer.close();
    writer.peer.close();
  }));

test('texts written before any join wait for one', () =>
  withServer({}, async (server) => {
    const client = await rawClassic(server);
    for (let i = 0; i < 5; ++i) client.ask('textMessage', message('Ana', 'plaza', `early ${i}`));
    const ping = within('a pong', new Promise((resolve) => client.peer.once('pong', resolve)));
    client.peer.sendRaw(Buffer.from([0x89, 0x80, 0, 0, 0, 0]));
    await ping;
    assert.deepEqual(client.said, []);
    await client.answer(client.ask('joinRoom', who('Ana', 'plaza', { lastMessageId: null })));
    await until('the early texts are acked', () => client.texts().length === 5);
    assert.deepEqual(client.texts().map((push) => push.params.text), [0, 1, 2, 3, 4].map((i) => `early ${i}`));
    assertDense(client.texts(), 1);
    client.peer.close();
  }));

test('who lost its join while it was connecting is sent back with 1013, and its texts arrive', () =>
  withServer({ args: long ? [] : ['--first-join-wait', '500ms'] }, async (server) => {
    const ana = new ClassicClient({ address: server.address, userName: 'Ana', ...soon });
    void ana.joinRoom('plaza');  // the socket is still connecting
    await ana.isConnected();
    for (let i = 0; i < 5; ++i) ana.sendText(`ana ${i}`);
    await ana.allAcked(long ? 30_000 : 10_000);
    assert.deepEqual(ana.closes.map((how) => how.code), [1013]);
    assertContent(ana, 'plaza');
    assert.equal((await wholeLog(server, 'plaza')).length, 5);
    await ana.stop();
  }));

test('a change of room drops nothing that is unacked, and what is resent for the former room is acked', () =>
  withServer({}, async (server) => {
    const ana = await joined(server, 'plaza', 'Ana');
    const bo = await joined(server, 'plaza', 'Bo');
    bo.sendText('bo was here');
    await until('Ana holds a position', () => ana.lastMessageId !== null);
    for (let i = 0; i < 10; ++i) ana.sendText(`plaza ${i}`);
    await ana.joinRoom('market');
    for (let i = 0; i < 10; ++i) ana.sendText(`market ${i}`);
    await ana.allAcked();
    // Once more, with nothing read in between and a cut: they come back with the former room's position.
    ana.block();
    for (let i = 10; i < 20; ++i) ana.sendText(`market ${i}`);
    void ana.joinRoom('harbour');
    for (let i = 0; i < 10; ++i) ana.sendText(`harbour ${i}`);
    for (const peer of ana.open) peer.cut();
    await ana.allAcked();
    for (const [room, count] of [['plaza', 10], ['market', 20], ['harbour', 10]]) {
      const own = (await wholeLog(server, room)).filter((each) => each.params.userId === ana.userId);
      assert.deepEqual(own.map((each) => each.params.text), Array.from({ length: count }, (_, i) => `${room} ${i}`));
      assertAscending(ana.ackedIn(room));
    }
    assert.deepEqual(ana.violations, []);
    assert.deepEqual(ana.errors, []);
    assert.equal(ana.open.size, 1);
    await Promise.all([ana.stop(), bo.stop()]);
  }));

test('a script that blocks, reading nothing and answering no ping, is not closed and loses nothing', () => {
  // Limits that a v2 client would not have outlived, several times over.
  const args = long ? [] : ['--ping-interval', '100ms', '--silent', '400ms', '--stalled', '400ms'];
  return withServer({ args }, async (server) => {
    // In long at a pace whose repeats stay within the allowance of bytes: else it is right that they take their time.
    const messagesEach = long ? 240 : 80;
    const intervalMs = long ? 250 : 15;
    const { users, blockedMs } = await runBlockingLoop({
      address: server.address, roomName: 'plaza', userNames: ['Ana', 'Bo'], messagesEach, intervalMs, textBytes: 40,
      settleWithinMs: 60_000,
    });
    assert.ok(blockedMs >= (long ? 120_000 : 2_400));
    for (const user of users) {
      assert.deepEqual([user.acked, user.heard.length, user.open], [messagesEach, 2 * messagesEach, 1]);
      assert.deepEqual([user.closes, user.errors, user.violations], [[], [], []]);
    }
  });
});

test('a script that blocks silently for longer than the limit is closed, comes back and has missed nothing', () =>
  withServer({ args: ['--ping-interval', '100ms', '--classic-silent', '600ms'] }, async (server) => {
    const talker = await V2Client.connect(server.address);
    await talker.join('plaza', 'Talker');
    const loop = runBlockingLoop({
      address: server.address, roomName: 'plaza', userNames: ['Ana'], messagesEach: 10, intervalMs: 10, textBytes: 40,
      silentMs: 2_500, settleWithinMs: 20_000, reconnectAfterMs: 200, closesExpected: 1,
    });
    const { users: [ana] } = await loop;
    assert.deepEqual([ana.acked, ana.heard.length, ana.open], [11, 11, 1]);
    assert.deepEqual(ana.closes.map((how) => how.code), [4008]);
    assert.deepEqual([ana.errors, ana.violations], [[], []]);
    await talker.close();
  }));

test('a text gets no response, only its push', () =>
  withServer({}, async (server) => {
    const client = await rawClassic(server);
    await client.answer(client.ask('joinRoom', who('Ana', 'plaza', { lastMessageId: null })));
    const params = message('Ana', 'plaza', 'once');
    const first = client.ask('textMessage', params);
    const again = client.ask('textMessage', params);
    const last = client.ask('textMessage', message('Ana', 'plaza', 'last'));
    await until('the last is acked', () => client.texts().length === 2);
    assert.deepEqual(client.texts().map((push) => push.id), [first, last]);
    assert.ok(!client.said.some((each) => !each.method && [first, again, last].includes(each.id)));
    client.peer.close();
  }));

test('joining the joined room again answers OK and nothing more; reconnect to it moves back', () =>
  withServer({}, async (server) => {
    const client = await rawClassic(server);
    await client.answer(client.ask('joinRoom', who('Ana', 'plaza', { lastMessageId: null })));
    for (let i = 0; i < 4; ++i) client.ask('textMessage', message('Ana', 'plaza', `ana ${i}`));
    await until('all are acked', () => client.texts().length === 4);
    const before = client.said.length;
    await client.answer(client.ask('joinRoom', who('Ana', 'plaza', { lastMessageId: null })));
    assert.equal(client.said.length, before + 1);
    const [, second] = client.texts();
    await client.answer(client.ask('reconnect', who('Ana', 'plaza', { lastMessageId: second._id })));
    await until('what stands after the position has come again', () => client.texts().length === 6);
    assert.deepEqual(client.texts().slice(4).map((push) => push.sequence), [3, 4]);
    await client.answer(client.ask('reconnect', who('Ana', 'plaza', { lastMessageId: null })));
    client.ask('textMessage', message('Ana', 'plaza', 'after'));
    await until('the newest history has come again, and it goes on', () => client.texts().length === 11);
    assert.deepEqual(client.texts().slice(6).map((push) => push.sequence), [1, 2, 3, 4, 5]);
    client.peer.close();
  }));

test('another connection of the same user closes none of the older ones', () =>
  withServer({}, async (server) => {
    const [first, second] = [await rawClassic(server), await rawClassic(server)];
    await first.answer(first.ask('joinRoom', who('Ana', 'plaza', { lastMessageId: null })));
    await second.answer(second.ask('reconnect', who('Ana', 'plaza', { lastMessageId: null })));
    second.ask('textMessage', message('Ana', 'plaza', 'from the newer'));
    first.ask('textMessage', message('Ana', 'plaza', 'from the older'));
    await until('both hear both', () => first.texts().length === 2 && second.texts().length === 2);
    assert.ok(first.peer.isOpen && second.peer.isOpen);
    first.peer.close();
    second.peer.close();
  }));

test('a name that is taken is −32001, and the connection stays', () =>
  withServer({}, async (server) => {
    const [ana, other] = [await rawClassic(server), await rawClassic(server)];
    await ana.answer(ana.ask('joinRoom', who('Ana', 'plaza', { lastMessageId: null })));
    const refused = await other.answer(other.ask('joinRoom', { ...who('aNA', 'plaza'), userId: 'somebody else', lastMessageId: null }));
    assert.deepEqual(refused.error, { code: -32001, message: 'There is another user with same name in the room!' });
    assert.equal((await other.answer(other.ask('joinRoom', { ...who('Bo', 'plaza'), userId: 'somebody else' }))).result, 'OK');
    ana.peer.close();
    other.peer.close();
  }));

test('a reconnect without room or user is −32003, and the connection stays', () =>
  withServer({}, async (server) => {
    const client = await rawClassic(server);
    for (const empty of [who('Ana', ''), { ...who('Ana', 'plaza'), userId: '' }, who('', 'plaza'), {}]) {
      const refused = await client.answer(client.ask('reconnect', { lastMessageId: null, sessionId: '', ...empty }));
      assert.deepEqual(refused.error, { code: -32003, message: 'Reconnection fail!' });
    }
    assert.equal((await client.answer(client.ask('joinRoom', who('Ana', 'plaza')))).result, 'OK');
    client.peer.close();
  }));

test('a reconnect whose name is still kept for somebody else is told so, closed with 1013, and nothing after it is taken', () =>
  withServer({ args: ['--name-grace', '2s'] }, async (server) => {
    // Just after a start whoever wants a name that is kept waits for it; here he is to be refused.
    const started = performance.now();
    await until('the grace after the start is over', () => performance.now() - started > 2_000);
    const ana = await rawClassic(server);
    await ana.answer(ana.ask('joinRoom', who('Ana', 'plaza')));
    ana.peer.cut();
    await ana.peer.closed;
    const other = await rawClassic(server);
    const elsewhere = { ...who('Ana', 'plaza'), userId: 'somebody else' };
    // The server notices the cut in its own time; until then the name is simply taken.
    await until('the name is kept', async () => {
      if (!other.peer.isOpen) return true;
      const reconnect = other.ask('reconnect', { ...elsewhere, lastMessageId: null });
      other.ask('textMessage', { ...message('Ana', 'plaza', 'must not be taken'), userId: 'somebody else' });
      await Promise.race([other.answer(reconnect), other.peer.closed]);
      return false;
    });
    assert.equal((await other.peer.closed).code, 1013);
    const codes = other.said.map((each) => each.error.code);
    assert.equal(codes.at(-1), -32001, 'nothing after the refused request is answered');
    assert.equal((await wholeLog(server, 'plaza')).length, 0);
    const returned = new ClassicClient({ address: server.address, userName: 'Ana', userId: 'somebody else', ...soon });
    void returned.joinRoom('plaza');
    await returned.isConnected();
    returned.sendText('waits for its name');
    for (const peer of returned.open) peer.cut();
    await returned.allAcked();
    assert.equal((await wholeLog(server, 'plaza')).length, 1);
    await returned.stop();
  }));

test('a join of a node that leaves is told so and closed with 1013', () =>
  withServer({ args: ['--drain-window', '3s'] }, async (server) => {
    const member = await V2Client.connect(server.address);
    await member.join('plaza', 'Member');
    // Each connection is closed at its own moment of the window: some are still there when the first has heard of it.
    const late = [];
    for (let i = 0; i < 8; ++i) late.push(await rawClassic(server));
    server.signal('SIGTERM');
    await member.hears('reconnect');
    const joins = late.map((client, i) => client.ask('joinRoom', who(`Late ${i}`, 'plaza')));
    const closes = await Promise.all(late.map((client) => client.peer.closed));
    const refused = late.filter((client, i) => client.said.some((each) => each.id === joins[i]));
    assert.ok(refused.length >= 3, `${refused.length} were answered`);
    for (const client of refused) {
      assert.deepEqual(client.said.map((each) => each.error.code), [-32016]);
      assert.equal(closes[late.indexOf(client)].code, 1013);
    }
    await member.close();
    assert.equal((await server.ended).code, 0);
  }));
