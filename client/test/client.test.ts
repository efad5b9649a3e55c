import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, TertuliaError } from '../src/index.js';
import { Emitter } from '../src/emitter.js';
import { inWorld, key, Person } from './person.js';
import { until, userIdOf } from './world.js';

const refuses = (code: string) => (error: unknown) => {
  assert.ok(error instanceof TertuliaError, String(error));
  assert.equal(error.code, code);
  return true;
};

test('joins, sees the history, is live, says and is acked', () =>
  inWorld(async (world) => {
    for (const text of ['one', 'two']) world.says('sala', text);
    const node = await world.endpoint();
    const ana = new Person(world, node.url);
    void ana.client.connect();
    const joined = await ana.room.join({ userName: 'Ana' });
    assert.match(joined.userKey, /^[A-Za-z0-9_-]{43}$/);
    assert.equal(joined.userId, userIdOf(joined.userKey));
    assert.deepEqual(ana.client.user, { userId: joined.userId, userKey: joined.userKey });
    await ana.isLive();
    const sent = await ana.room.send('three');
    assert.deepEqual({ ...sent, uuid: '' }, { uuid: '', position: world.log('sala').position(3), sequence: 3, repeated: false });
    world.says('sala', 'four');
    await ana.sawHead();
    assert.deepEqual(ana.story, ['message 1', 'message 2', 'live 2', 'message 3', 'message 4']);
    assert.deepEqual(ana.texts, ['one', 'two', 'three', 'four']);
    assert.deepEqual(ana.messages.map((each) => each.own), [false, false, true, false]);
    assert.deepEqual(ana.room.held, {
      from: 1,
      to: 4,
      chain: world.log('sala').position(4).slice(2),
      position: world.log('sala').position(4),
    });
    assert.equal(ana.acks.length, 1);
    assert.deepEqual(ana.errors, []);
    await ana.client.close();
    assert.equal(node.last.closeCode, 1000);
  }));

test('comes back after a cut with its position and misses nothing', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    world.says('sala', 'one');
    await ana.sawHead();
    node.last.cut();
    await ana.waits();
    for (const text of ['two', 'three']) world.says('sala', text);
    await ana.returns();
    assert.equal(node.last.asked('joinRoom')[0]!.params['lastMessageId'], world.log('sala').position(1));
    assert.deepEqual(ana.story, ['live 0', 'message 1', 'message 2', 'message 3', 'live 3']);
    await ana.client.close();
  }));

test('what was said offline goes out in order after the return, with the uuids of the first try', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    node.onRequest = (_conn, request) => request.method === 'textMessage'; // heard, never answered
    const lost = ana.room.send('heard, not answered');
    await until('it was heard', () => node.last.texts('sala').length === 1);
    node.last.cut();
    await ana.waits();
    const queued = ['b', 'c', 'd'].map((text) => ana.room.send(text));
    node.onRequest = () => false;
    assert.deepEqual(ana.room.pending.map((each) => each.sent), [true, false, false, false]);
    await ana.returns();
    const sent = await Promise.all([lost, ...queued]);
    assert.deepEqual(sent.map((each) => each.sequence), [1, 2, 3, 4]);
    assert.deepEqual(ana.texts, ['heard, not answered', 'b', 'c', 'd']);
    const [first, second] = [node.conns[0]!, node.conns[1]!].map((conn) => conn.asked('textMessage')[0]!.params);
    assert.deepEqual(first, second);
    assert.deepEqual(ana.room.pending, []);
    await ana.client.close();
  }));

test('a message whose ack was lost is sent again, is stored once, and is told as repeated', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    node.onRequest = (conn, request) => {
      if (request.method !== 'textMessage') return false;
      conn.open = false; // committed, but nothing goes out any more
      conn.say(request);
      conn.cut();
      return true;
    };
    const say = ana.room.send('once');
    await ana.waits();
    node.onRequest = () => false;
    await ana.returns();
    const sent = await say;
    assert.deepEqual([sent.sequence, sent.repeated], [1, true]);
    assert.equal(world.log('sala').head, 1);
    assert.deepEqual(ana.texts, ['once']);
    await ana.client.close();
  }));

test('its own message in the log is the ack, when the answer was lost', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    node.onRequest = (conn, { method, params }) => {
      if (method !== 'textMessage') return false;
      const said = { userId: conn.userId, userName: 'Ana', uuid: String(params['uuid']), text: String(params['text']), date: String(params['date']) };
      world.log('sala').append(said);
      conn.deliver('sala');
      return true;
    };
    assert.equal((await ana.room.send('hi')).position, world.log('sala').position(1));
    await ana.client.close();
  }));

test('another user\'s message with the same uuid is no ack', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    let text: { id: number } | undefined;
    node.onRequest = (_conn, request) => {
      if (request.method !== 'textMessage') return false;
      text = request;
      return true;
    };
    const say = ana.room.send('hi', { uuid: 'mine' });
    await until('it was heard', () => text !== undefined);
    world.log('sala').append({ userId: '~other', userName: 'Berta', uuid: 'mine', text: 'hi' });
    world.deliver('sala');
    await ana.sawHead();
    assert.equal(ana.room.pending.length, 1);
    node.last.fail(text!.id, -32015);
    await assert.rejects(say, refuses('uuidReused'));
    await ana.client.close();
  }));

for (const [code, name] of [
  [-32603, 'refused'],
  [-32014, 'tooLarge'],
  [-32015, 'uuidReused'],
  [-32602, 'invalid'],
] as const) {
  test(`a send answered with ${code} fails for good, and the queue goes on`, () =>
    inWorld(async (world) => {
      const node = await world.endpoint();
      const ana = await new Person(world, node.url).arrives();
      node.onRequest = (conn, request) => {
        if (request.params['text'] !== 'bad') return false;
        conn.fail(request.id, code);
        return true;
      };
      const failed: unknown[] = [];
      ana.room.on('failed', ({ text, outcome }) => failed.push([text, outcome]));
      const all = ['one', 'bad', 'two'].map((text) => ana.room.send(text));
      await assert.rejects(all[1]!, (error: TertuliaError) => refuses(name)(error) && error.outcome === 'none');
      assert.deepEqual([(await all[0]!).sequence, (await all[2]!).sequence], [1, 2]);
      assert.deepEqual(failed, [['bad', 'none']]);
      await ana.client.close();
    }));
}

test('a refusal after a send that went down unanswered leaves the outcome unknown', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    node.onRequest = (_conn, request) => request.method === 'textMessage';
    const say = ana.room.send('hi');
    await until('it was heard', () => node.last.texts('sala').length === 1);
    node.last.cut();
    node.onRequest = (conn, request) => request.method === 'textMessage' && (conn.fail(request.id, -32603), true);
    await ana.returns();
    await assert.rejects(say, (error: TertuliaError) => refuses('refused')(error) && error.outcome === 'unknown');
    await ana.client.close();
  }));

test('told that it is no member, it joins again and sends everything unacked again, in order', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    node.last.cursors.delete('sala'); // the server has forgotten
    const sent = await Promise.all(['a', 'b', 'c'].map((text) => ana.room.send(text)));
    assert.deepEqual(sent.map((each) => each.sequence), [1, 2, 3]);
    assert.equal(node.conns.length, 1);
    assert.deepEqual(node.last.texts('sala'), ['a', 'b', 'c', 'a', 'b', 'c']);
    assert.deepEqual(ana.texts, ['a', 'b', 'c']);
    await ana.client.close();
  }));

test('no more than the window is unanswered at once', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url, { windowMessagesMax: 5 }).arrives();
    const texts: { id: number }[] = [];
    node.onRequest = (_conn, request) => request.method === 'textMessage' && (texts.push(request), true);
    const all = Array.from({ length: 12 }, (_, i) => ana.room.send(`m${i}`));
    await until('the window is full', () => texts.length === 5);
    await ana.room.members();
    assert.equal(texts.length, 5);
    for (let i = 0; i < 12; i++) {
      await until(`text ${i} came`, () => texts.length > i);
      assert.ok(texts.length <= i + 5);
      node.last.say(texts[i] as never);
    }
    await Promise.all(all);
    assert.deepEqual(ana.texts, all.map((_, i) => `m${i}`));
    await ana.client.close();
  }));

test('the window is bounded in bytes, too', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    node.messageBytesMax = 200_000;
    const ana = await new Person(world, node.url).arrives();
    const texts: { id: number }[] = [];
    node.onRequest = (_conn, request) => request.method === 'textMessage' && (texts.push(request), true);
    for (let i = 0; i < 4; i++) void ana.room.send('x'.repeat(150_000));
    await until('two came', () => texts.length === 2);
    await ana.room.members();
    assert.equal(texts.length, 2);
    await ana.client.close();
  }));

test('the queue has an end in messages and in bytes, and says so', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = new Person(world, node.url, { queueMessagesMax: 3, queueBytesMax: 100 });
    void ana.room.join({ userName: 'Ana' });
    for (let i = 0; i < 3; i++) void ana.room.send('x');
    await assert.rejects(ana.room.send('x'), refuses('queueFull'));
    const eva = new Person(world, node.url, { queueMessagesMax: 3, queueBytesMax: 100 });
    void eva.room.join({ userName: 'Eva' });
    void eva.room.send('x'.repeat(60));
    await assert.rejects(eva.room.send('x'.repeat(60)), refuses('queueFull'));
    void eva.room.send('x'.repeat(40));
    assert.equal(eva.room.pending.length, 2);
    await Promise.all([ana.client.close(), eva.client.close()]);
  }));

test('what cannot be said is refused here, and the server never hears of it', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = new Person(world, node.url);
    await assert.rejects(ana.room.send('too early'), refuses('notMember'));
    await ana.arrives();
    const frame = JSON.stringify({ jsonrpc: '2.0', method: 'textMessage', params: { roomName: 'sala', text: '', uuid: 'u', date: '' }, id: 2 ** 53 - 1 });
    const rest = 1000 - frame.length;
    const just = (count: number) => ({ text: 'é'.repeat(count >> 1) + 'x'.repeat(count & 1), uuid: 'u', date: '' });
    const { text, ...how } = just(rest + 1);
    await assert.rejects(ana.room.send(text, how), refuses('tooLarge'));
    await assert.rejects(ana.room.send('\n'.repeat((rest >> 1) + 1), how), refuses('tooLarge'));
    await assert.rejects(ana.room.send(''), refuses('invalid'));
    await assert.rejects(ana.room.send('x', { uuid: 'a b' }), refuses('invalid'));
    await assert.rejects(ana.room.send('x', { date: 'd'.repeat(65) }), refuses('invalid'));
    await ana.room.send(just(rest).text, how);
    await ana.room.send('half \ud83c, none \0');
    assert.equal(ana.texts[1], 'half \ufffd, none \ufffd');
    assert.equal(node.last.asked('textMessage').length, 2);
    await ana.client.close();
  }));

test('what was queued before the limit was known fails when it is too large for it', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = new Person(world, node.url);
    void ana.client.connect();
    void ana.room.join({ userName: 'Ana' });
    const all = ['one', 'x'.repeat(5000), 'two'].map((text) => ana.room.send(text));
    await assert.rejects(all[1]!, (error: TertuliaError) => refuses('tooLarge')(error) && error.outcome === 'none');
    assert.deepEqual([(await all[0]!).sequence, (await all[2]!).sequence], [1, 2]);
    await ana.client.close();
  }));

test('names that no server could read are refused here', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = new Person(world, node.url);
    for (const userName of ['', 'a\0b', 'half \ud83c', 'x'.repeat(257)]) {
      await assert.rejects(ana.room.join({ userName }), refuses('invalid'), JSON.stringify(userName));
      await assert.rejects(ana.client.room(userName).join({ userName: 'Ana' }), refuses('invalid'), JSON.stringify(userName));
    }
    await ana.client.close();
  }));

test('a name that is taken is told to the first join; the next try may have another', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = new Person(world, node.url);
    node.onRequest = (conn, { id, params }) => params['userName'] === 'Ana' && (conn.fail(id, -32001), true);
    void ana.client.connect();
    const join = ana.room.join({ userName: 'Ana' });
    const early = ana.room.send('never sent');
    await assert.rejects(join, refuses('nameTaken'));
    await assert.rejects(early, (error: TertuliaError) => error.code === 'nameTaken' && error.outcome === 'none');
    assert.equal(ana.room.state.phase, 'idle');
    await ana.room.join({ userName: 'Ana the other' });
    await ana.isLive();
    assert.equal(node.conns.length, 1);
    await ana.client.close();
  }));

test('a retryable error of a join is tried again after what the server says, with back-off', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    let left = 3;
    node.onRequest = (conn, { id, method }) =>
      method === 'joinRoom' && left-- > 0 && (conn.fail(id, -32013, { retryable: true, retryAfterMs: 700 }), true);
    const ana = new Person(world, node.url);
    void ana.client.connect();
    const join = ana.room.join({ userName: 'Ana' });
    const waits: number[] = [];
    for (let i = 0; i < 3; i++) {
      await until(`try ${i}`, () => node.conns[0]?.asked('joinRoom').length === i + 1);
      await ana.phase('waiting');
      assert.equal(ana.room.state.error?.code, 'busy');
      waits.push(ana.room.state.retryInMs!);
      ana.timers.advance(ana.room.state.retryInMs! - 1);
      assert.equal(ana.room.state.phase, 'waiting');
      ana.timers.advance(1);
    }
    await join;
    await ana.isLive();
    assert.deepEqual(waits, [950, 1200, 1700]);
    await ana.client.close();
  }));

test('a name that is taken at the return is told by the state, and tried until it is free', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    node.last.cut();
    let taken = true;
    node.onRequest = (conn, { id, method }) => method === 'joinRoom' && taken && (conn.fail(id, -32001), true);
    await ana.waits();
    ana.timers.advance(1000);
    await ana.phase('waiting');
    assert.equal(ana.room.state.error?.code, 'nameTaken');
    const say = ana.room.send('waits with me');
    taken = false;
    ana.timers.advance(1000);
    await ana.isLive();
    assert.equal((await say).sequence, 1);
    await ana.client.close();
  }));

test('not authorised at the return is final for the room: it is told, and what waits fails', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    node.last.cut();
    await ana.waits();
    const say = ana.room.send('too late');
    node.onRequest = (conn, { id, method }) => method === 'joinRoom' && (conn.fail(id, -32011), true);
    ana.timers.advance(1000);
    await assert.rejects(say, refuses('notAuthorised'));
    assert.deepEqual([ana.room.state.phase, ana.room.state.error?.code], ['idle', 'notAuthorised']);
    assert.equal(ana.errors[0]?.code, 'notAuthorised');
    await ana.client.close();
  }));

test('several rooms live on one connection, and come back together', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    const other = ana.client.room('cocina');
    const heard: (string | undefined)[] = [];
    other.on('message', (message) => heard.push(message.text));
    await other.join({ userName: 'Ana' });
    assert.equal(node.last.asked('joinRoom')[1]!.params['userKey'], key('a'));
    await assert.rejects(ana.client.room('x').join({ userName: 'Ana', userKey: key('b') }), refuses('notAuthorised'));
    node.last.cut();
    await ana.waits();
    world.says('cocina', 'hola');
    void ana.room.send('in one');
    void other.send('in the other');
    await ana.returns();
    await until('both are here', () => heard.length === 2 && ana.texts.length === 1);
    assert.deepEqual(heard, ['hola', 'in the other']);
    assert.deepEqual((await ana.client.rooms()).map((each) => each.roomName), ['sala', 'cocina']);
    await ana.client.close();
  }));

test('leaving tells the server, fails what waits, and lets one join again from the same place', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    await ana.room.send('one');
    node.onRequest = (_conn, request) => request.method === 'textMessage';
    const say = ana.room.send('two');
    await until('it was heard', () => node.last.texts('sala').length === 2);
    const { position } = ana.room.held!;
    await ana.room.leave();
    await assert.rejects(say, (error: TertuliaError) => error.code === 'left' && error.outcome === 'unknown');
    assert.equal(node.last.asked('leaveRoom').length, 1);
    assert.equal(ana.room.state.phase, 'idle');
    node.onRequest = () => false;
    world.says('sala', 'meanwhile');
    await ana.room.join({ userName: 'Ana', lastMessageId: position });
    await ana.isLive();
    assert.deepEqual(ana.texts, ['one', 'meanwhile']);
    await ana.client.close();
  }));

test('flush waits until all is acked, or says what is not', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    void ana.room.send('one');
    assert.deepEqual(await ana.room.flush(1000), []);
    node.onRequest = (_conn, request) => request.method === 'textMessage';
    void ana.room.send('two');
    const left = ana.room.flush(1000);
    ana.timers.advance(1000);
    assert.deepEqual((await left).map((each) => each.text), ['two']);
    await ana.client.close();
  }));

test('history is checked: it extends what is held only if it chains, and a forged page is refused', () =>
  inWorld(async (world) => {
    for (let i = 1; i <= 10; i++) world.says('sala', `m${i}`);
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives({ limit: 3 });
    assert.equal(ana.room.held!.from, 8);
    const page = await ana.room.history({ before: 8, limit: 4 });
    assert.deepEqual([page.messages.map((each) => each.text), page.more], [['m4', 'm5', 'm6', 'm7'], true]);
    assert.equal(ana.room.held!.from, 4);
    node.onRequest = (conn, { id, method }) => {
      if (method !== 'history') return false;
      const messages = structuredClone(world.log('sala').frames.slice(0, 3));
      (messages[2]!['params'] as Record<string, unknown>)['text'] = 'forged';
      conn.answer(id, { messages, more: false });
      return true;
    };
    await assert.rejects(ana.room.history({ before: 4 }), refuses('chain'));
    assert.equal(ana.room.held!.from, 4);
    node.onRequest = () => false;
    assert.equal((await ana.room.history({ before: 4 })).more, false);
    assert.equal(ana.room.held!.from, 1);
    await ana.client.close();
  }));

test('a question is asked again when its connection goes, and waits when the server is busy', () =>
  inWorld(async (world) => {
    world.says('sala', 'one');
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    node.onRequest = (conn, { method }) => method === 'history' && (conn.cut(), true);
    const page = ana.room.history();
    await ana.waits();
    let busy = true;
    node.onRequest = (conn, { id, method }) =>
      method === 'history' && busy && (conn.fail(id, -32013, { retryable: true, retryAfterMs: 500 }), (busy = false), true);
    await ana.returns();
    await until('it was refused', () => !busy && ana.timers.waits.length > 1);
    ana.timers.advance(1000);
    assert.equal((await page).messages.length, 1);
    await ana.client.close();
  }));

test('who came and went, who types and reads is told', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    const about = { roomName: 'sala', userId: '~b', userName: 'Berta' };
    node.last.notify('userJoined', about);
    node.last.notify('typing', about);
    node.last.notify('read', { roomName: 'sala', userId: '~b', sequence: 7 });
    node.last.notify('userLeft', about);
    node.last.notify('membersChanged', { roomName: 'sala', members: 41 });
    node.last.notify('somethingNew', { roomName: 'sala' });
    await until('all is told', () => ana.story.length >= 6);
    assert.deepEqual(ana.story, ['live 0', 'joined Berta', 'typing Berta', 'read 7', 'left Berta', 'members 41']);
    ana.room.typing();
    ana.room.typing();
    ana.timers.advance(3000);
    ana.room.typing();
    ana.room.read(3);
    ana.room.read(5);
    ana.room.read(4);
    await until('the first is told', () => node.last.asked('read').length === 1);
    await ana.room.members();
    ana.timers.advance(1000);
    await until('the newest is told', () => node.last.asked('read').length === 2);
    assert.deepEqual(node.last.asked('read').map((each) => each.params['sequence']), [3, 5]);
    assert.equal(node.last.asked('typing').length, 2);
    await ana.client.close();
  }));

test('what the server garbles is told and hurts nothing', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    const frames = ['{', '[]', '7', '{}', '{"method":"textMessage"}', '{"jsonrpc":"2.0","method":"textMessage","params":{"roomName":"sala"},"_id":"x"}'];
    for (const frame of frames) node.last.send(frame);
    node.last.ws.send(Buffer.from([1, 2]));
    node.last.fail(999_999, -32700);
    await ana.room.send('still here');
    assert.deepEqual(ana.errors.map((each) => each.code), Array(frames.length + 2).fill('protocol'));
    await ana.client.close();
  }));

test('an address or a platform that cannot work is told at once', () => {
  for (const url of ['', 'localhost', 'http://localhost']) {
    assert.throws(() => new Client({ url, WebSocket: class {} as never }), refuses('invalid'), url);
  }
});

test('a closed client says so to everybody who waits, and to everybody who still asks', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    node.closed = true;
    const ana = new Person(world, node.url);
    const connect = ana.client.connect();
    const join = ana.room.join({ userName: 'Ana' });
    const history = ana.room.history();
    const say = ana.room.send('x');
    await ana.client.close();
    for (const promise of [connect, join, history, say]) await assert.rejects(promise, refuses('closed'));
    for (const again of [ana.client.connect(), ana.room.join({ userName: 'Ana' }), ana.client.rooms()]) {
      await assert.rejects(again, refuses('closed'));
    }
    assert.equal(ana.client.state.phase, 'closed');
    assert.deepEqual(ana.timers.waits, []);
  }));

test('a listener that throws does not hurt the next one, and its error is the platform\'s to report', () => {
  const emitter = new Emitter<{ ping: number }>();
  const heard: number[] = [];
  emitter.on('ping', () => {
    throw new Error('mine');
  });
  const end = emitter.on('ping', (n) => heard.push(n));
  const real = globalThis.queueMicrotask;
  const reports: (() => void)[] = [];
  globalThis.queueMicrotask = (report) => reports.push(report);
  try {
    emitter.emit('ping', 1);
    end();
    emitter.emit('ping', 2);
  } finally {
    globalThis.queueMicrotask = real;
  }
  assert.deepEqual(heard, [1]);
  assert.equal(reports.length, 2);
  assert.throws(reports[0]!, /mine/);
});
