// Coming back: close codes, silence, cuts at every point, and pasts that changed meanwhile.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TertuliaError } from '../src/index.js';
import { inWorld, Person } from './person.js';
import { until, type Conn, type Request } from './world.js';

const closeTable: [number | undefined, 'never' | number][] = [
  [undefined, 500],
  [1000, 250],
  [1001, 500],
  [1002, 'never'],
  [1003, 'never'],
  [1007, 'never'],
  [1008, 250],
  [1009, 'never'],
  [1011, 250],
  [1012, 500],
  [1013, 500],
  [4000, 250],
  [4008, 250],
  [4499, 250],
  [4500, 'never'],
  [4999, 'never'],
];

for (const [code, wait] of closeTable) {
  test(`close ${code ?? 'without a code'}: ${wait === 'never' ? 'the client does not come back' : `back after ${wait} ms at chance 0.5`}`, () =>
    inWorld(async (world) => {
      const node = await world.endpoint();
      const ana = await new Person(world, node.url).arrives();
      node.last.close(code);
      if (wait === 'never') {
        await until('it is refused', () => ana.client.state.phase === 'refused');
        assert.equal(ana.client.state.closeCode, code);
        assert.deepEqual([ana.room.state.phase, ana.room.state.error?.code], ['idle', 'serverRefuses']);
        assert.deepEqual(ana.timers.waits, []);
        await assert.rejects(ana.client.connect(), (error: TertuliaError) => error.code === 'closed');
        return;
      }
      await ana.waits();
      assert.deepEqual([ana.client.state.retryInMs, ana.client.state.closeCode], [wait, code ?? 1005]);
      ana.timers.advance(wait - 1);
      assert.equal(ana.client.state.phase, 'waiting');
      ana.timers.advance(1);
      await ana.isLive();
      assert.equal(node.conns.length, 2);
      await ana.client.close();
    }));
}

test('a server that cannot be reached is tried with growing waits, and one successful join resets them', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    await node.kill();
    const waits: number[] = [];
    for (let i = 0; i < 7; i++) {
      await until(`wait ${i}`, () => ana.client.state.phase === 'waiting' && ana.client.state.attempt === i + 1);
      waits.push(ana.client.state.retryInMs!);
      if (i < 6) ana.timers.advance(ana.client.state.retryInMs!);
    }
    assert.deepEqual(waits, [500, 250, 500, 1000, 2000, 4000, 5000]);
    await node.start();
    ana.timers.advance(5000);
    await ana.isLive();
    node.last.cut();
    await ana.waits();
    assert.equal(ana.client.state.retryInMs, 500);
    await ana.client.close();
  }));

test('a server that answers upgrades with 503 is tried with growing waits', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    node.closed = true;
    const ana = new Person(world, node.url);
    const connect = ana.client.connect();
    void ana.room.join({ userName: 'Ana' });
    await ana.waits();
    assert.equal(ana.client.state.retryInMs, 500);
    ana.timers.advance(500);
    await until('it failed again', () => ana.client.state.attempt === 2 && ana.client.state.phase === 'waiting');
    node.closed = false;
    ana.client.retryNow();
    await ana.isLive();
    await connect;
    await ana.client.close();
  }));

test('a server that does not speak v2 is left, and tried again later', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const { WebSocket } = await import('ws');
    // As a browser would open it where the server chooses none of the offered subprotocols.
    class Classic extends WebSocket {
      constructor(url: string) {
        super(url, 'tertulia.v2');
        Object.defineProperty(this, 'protocol', { value: '' });
      }
    }
    const ana = new Person(world, node.url, { WebSocket: Classic as never });
    void ana.client.connect();
    await ana.waits();
    assert.equal(ana.errors[0]?.code, 'protocol');
    assert.equal(ana.client.state.retryInMs, 250);
    await ana.client.close();
  }));

test('a connection that does not open in time is given up', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const silent: object[] = [];
    class Never {
      protocol = '';
      onopen = null;
      constructor() {
        silent.push(this);
      }
      send(): void {}
      close(): void {}
    }
    const ana = new Person(world, node.url, { WebSocket: Never as never, openTimeoutMs: 4000 });
    void ana.client.connect();
    ana.timers.advance(3999);
    assert.equal(ana.client.state.phase, 'connecting');
    ana.timers.advance(1);
    assert.equal(ana.client.state.phase, 'waiting');
    ana.timers.advance(500);
    assert.equal(silent.length, 2);
    const down = ana.client.close();
    ana.timers.advance(3000);
    await down;
  }));

test('silence of two and a half heartbeats closes and comes back; a heartbeat in time does not', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    node.heartbeatMs = 4000;
    const ana = await new Person(world, node.url).arrives();
    let seen = 0;
    for (let i = 0; i < 5; i++) {
      ana.timers.advance(9999);
      assert.equal(ana.client.state.phase, 'online');
      node.last.notify('heartbeat', {});
      node.last.notify('typing', { roomName: 'sala', userId: '~b', userName: String(i) });
      await until('it was heard', () => ana.story.filter((each) => each.startsWith('typing')).length === i + 1);
      seen++;
    }
    assert.equal(seen, 5);
    ana.timers.advance(9999);
    assert.equal(ana.client.state.phase, 'online');
    ana.timers.advance(1);
    assert.equal(ana.client.state.phase, 'waiting');
    await until('the server was told', () => node.last.closeCode === 4000);
    await ana.returns();
    await ana.client.close();
  }));

test('a program that was held up listens once more before it calls the server silent', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    node.heartbeatMs = 4000;
    const ana = await new Person(world, node.url).arrives();
    ana.timers.nowMs += 60_000; // the timer fires 50 s late
    ana.timers.advance(0);
    assert.equal(ana.client.state.phase, 'online');
    world.says('sala', 'I was here all the time');
    await ana.sawHead();
    ana.timers.advance(1000);
    assert.equal(ana.client.state.phase, 'online');
    ana.timers.advance(9000);
    assert.equal(ana.client.state.phase, 'waiting');
    await ana.client.close();
  }));

test('a page in the background, whose timers are always late, still notices silence', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    node.heartbeatMs = 4000;
    const ana = await new Person(world, node.url).arrives();
    for (const phase of ['online', 'waiting']) {
      ana.timers.nowMs += 60_000;
      ana.timers.advance(0);
      assert.equal(ana.client.state.phase, phase);
    }
    await ana.client.close();
  }));

// [where the connection is cut, how: returns true when it has cut]
type Cut = [string, (conn: Conn, request: Request) => boolean];
const cuts: Cut[] = [
  ['when the join arrives', (conn, { method }) => method === 'joinRoom' && (conn.cut(), true)],
  [
    'after the answer to the join, before any message',
    (conn, request) => {
      if (request.method !== 'joinRoom') return false;
      conn.held = true;
      conn.join(request);
      return closing(conn);
    },
  ],
  [
    'in the middle of catching up',
    (conn, request) => {
      if (request.method !== 'joinRoom') return false;
      conn.held = true;
      conn.join(request);
      const log = conn.endpoint.world.log('sala');
      const cursor = conn.cursors.get('sala')!;
      for (const frame of log.frames.slice(cursor, cursor + 3)) conn.send(frame);
      return closing(conn);
    },
  ],
  [
    'caught up, before `live`',
    (conn, request) => {
      if (request.method !== 'joinRoom') return false;
      conn.held = true;
      conn.join(request);
      conn.deliver('sala');
      return closing(conn);
    },
  ],
  ['when a text arrives', (conn, { method }) => method === 'textMessage' && (conn.cut(), true)],
  [
    'after the commit of a text, before its answer',
    (conn, request) => {
      if (request.method !== 'textMessage') return false;
      conn.open = false;
      conn.say(request);
      conn.cut();
      return true;
    },
  ],
  [
    'after the answer to a text, before its push',
    (conn, request) => {
      if (request.method !== 'textMessage') return false;
      conn.held = true;
      conn.say(request);
      return closing(conn);
    },
  ],
  [
    'after the push of a text, before its answer',
    (conn, request) => {
      if (request.method !== 'textMessage') return false;
      const { answer } = conn;
      conn.answer = () => {};
      conn.say(request);
      conn.answer = answer;
      return closing(conn);
    },
  ],
];

// What was written before still arrives; nothing after.
function closing(conn: Conn): boolean {
  conn.close(1012);
  return true;
}

for (const [where, cut] of cuts) {
  test(`cut ${where}: nothing is lost, repeated or out of order`, () =>
    inWorld(async (world) => {
      for (let i = 0; i < 6; i++) world.says('sala', `before ${i}`);
      const node = await world.endpoint();
      const ana = new Person(world, node.url);
      let times = 2;
      node.onRequest = (conn, request) => times > 0 && cut(conn, request) && times-- > 0;
      void ana.client.connect();
      void ana.room.join({ userName: 'Ana' });
      const sends = ['a', 'b', 'c'].map((text) => ana.room.send(text));
      for (let i = 0; i < 2; i++) {
        await until('it was cut', () => times === 1 - i);
        await ana.waits();
        world.says('sala', `meanwhile ${i}`);
        ana.timers.advance(10_000);
      }
      const sent = await Promise.all(sends);
      await ana.isLive();
      await ana.sawHead();
      ana.sawAll();
      assert.equal(world.log('sala').head, 11);
      assert.deepEqual(ana.texts.filter((text) => text!.length === 1), ['a', 'b', 'c']);
      for (const { uuid, sequence, position } of sent) {
        assert.equal(ana.messages[sequence - 1]!.uuid, uuid);
        assert.equal(ana.messages[sequence - 1]!.position, position);
      }
      assert.deepEqual(ana.errors, []);
      assert.equal(node.open.length, 1);
      await ana.client.close();
    }));
}

test('repeats are swallowed', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    const log = world.log('sala');
    for (let i = 0; i < 3; i++) world.says('sala', `m${i}`);
    for (const frame of [...log.frames, ...log.frames, log.frames[1]!]) node.last.send(frame);
    world.says('sala', 'last');
    await ana.sawHead();
    ana.sawAll();
    assert.equal(node.last.asked('joinRoom').length, 1);
    await ana.client.close();
  }));

test('a gap is fetched by joining again with what is held', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    world.says('sala', 'one');
    await ana.sawHead();
    const conn = node.last;
    conn.held = true;
    for (const text of ['two', 'three', 'four']) world.says('sala', text);
    conn.held = false;
    conn.cursors.set('sala', 2);
    conn.deliver('sala'); // three and four, but not two
    await ana.sawHead();
    ana.sawAll();
    assert.deepEqual(conn.asked('joinRoom').map((each) => each.params['lastMessageId']), [undefined, world.log('sala').position(1)]);
    assert.deepEqual(ana.errors, []);
    assert.equal(node.conns.length, 1);
    await ana.client.close();
  }));

test('a head that the messages did not reach is a gap, too', () =>
  inWorld(async (world) => {
    for (let i = 0; i < 4; i++) world.says('sala', `m${i}`);
    const node = await world.endpoint();
    let first = true;
    node.onRequest = (conn, request) => {
      if (request.method !== 'joinRoom' || !first) return false;
      first = false;
      conn.held = true;
      conn.join(request);
      conn.held = false;
      for (const frame of world.log('sala').frames.slice(0, 3)) conn.send(frame);
      conn.notify('live', { roomName: 'sala', sequence: 4 });
      conn.cursors.set('sala', 4);
      return true;
    };
    const ana = await new Person(world, node.url).arrives();
    ana.sawAll();
    assert.deepEqual(ana.story.slice(-2), ['message 4', 'live 4']);
    await ana.client.close();
  }));

test('a message that does not chain is not delivered: it is told, and the room is joined again', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    world.says('sala', 'one');
    await ana.sawHead();
    const conn = node.last;
    conn.held = true;
    world.says('sala', 'two');
    conn.held = false;
    const forged = structuredClone(world.log('sala').frames[1]!);
    (forged['params'] as Record<string, unknown>)['text'] = 'forged';
    conn.send(forged);
    await ana.sawHead();
    ana.sawAll();
    assert.deepEqual(ana.errors.map((each) => each.code), ['chain']);
    await ana.client.close();
  }));

test('a server that forges again and again is asked ever more slowly, and never believed', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    world.says('sala', 'one');
    await ana.sawHead();
    const forged = structuredClone(world.log('sala').frames[0]!);
    forged['sequence'] = 2;
    forged['_id'] = `2-${'A'.repeat(16)}`;
    node.onRequest = (conn, request) => {
      if (request.method !== 'joinRoom') return false;
      conn.held = true;
      conn.join(request);
      conn.send(forged);
      return true;
    };
    node.last.send(forged);
    for (let i = 1; i <= 4; i++) {
      await until(`try ${i}`, () => node.last.asked('joinRoom').length === 1 + i && ana.errors.length === 1 + i);
      await ana.phase('waiting');
      assert.deepEqual(ana.timers.waits[0], [500, 1000, 2000, 4000][i - 1]);
      ana.timers.advance(ana.timers.waits[0]!);
    }
    assert.deepEqual(ana.texts, ['one']);
    await ana.client.close();
  }));

test('what was under way when the room was left and joined again does not count', () =>
  inWorld(async (world) => {
    for (let i = 1; i <= 9; i++) world.says('sala', `m${i}`);
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives({ limit: 1 });
    node.onRequest = (conn, request) => {
      if (request.method === 'joinRoom') conn.send(world.log('sala').frames[2]!); // late, of the first membership
      return false;
    };
    void ana.room.leave();
    await ana.room.join({ userName: 'Ana', limit: 2 });
    await ana.isLive();
    assert.deepEqual(ana.story, ['message 9', 'live 9', 'message 8', 'message 9', 'live 9']);
    await ana.client.close();
  }));

test('a past that changed is told by reset: what was held is dropped, and the new one is delivered', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    for (let i = 1; i <= 4; i++) world.says('sala', `m${i}`);
    await ana.sawHead();
    node.last.cut();
    await ana.waits();
    world.log('sala').rewind(2);
    const say = ana.room.send('in the new past');
    await ana.returns();
    assert.equal((await say).sequence, 3);
    await ana.sawHead();
    assert.deepEqual(ana.story.slice(5), ['reset', 'message 1', 'message 2', 'live 2', 'message 3']);
    assert.deepEqual([ana.room.held!.from, ana.room.held!.to], [1, 3]);
    await ana.client.close();
  }));

test('a past that went on as long as the one held, but otherwise, is told by reset', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    for (let i = 1; i <= 3; i++) world.says('sala', `m${i}`);
    await ana.sawHead();
    node.last.cut();
    await ana.waits();
    world.log('sala').rewind(2);
    for (const text of ['other 3', 'other 4']) world.says('sala', text);
    await ana.returns();
    await ana.sawHead();
    assert.ok(ana.story.includes('reset'));
    assert.deepEqual(ana.texts.slice(3), ['m1', 'm2', 'other 3', 'other 4']);
    await ana.client.close();
  }));

test('reset in the middle of a session: what has no answer is sent again, into the new past', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    for (let i = 1; i <= 3; i++) world.says('sala', `m${i}`);
    await ana.sawHead();
    let heard = 0;
    node.onRequest = (_conn, { method }) => method === 'textMessage' && heard++ === 0; // taken by the past that goes
    const say = ana.room.send('kept');
    await until('it was heard', () => heard === 1);
    const log = world.log('sala');
    log.rewind(1);
    node.last.notify('reset', { roomName: 'sala', oldest: 1, head: log.position(1) });
    node.last.cursors.set('sala', 0);
    node.last.deliver('sala');
    node.last.notify('live', { roomName: 'sala', sequence: 1 });
    assert.equal((await say).sequence, 2);
    await ana.sawHead();
    assert.deepEqual(ana.story.slice(4), ['reset', 'message 1', 'message 2']);
    assert.equal(node.last.asked('joinRoom').length, 1);
    await ana.client.close();
  }));

test('cut between reset and its messages, it begins anew without a position', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives();
    for (let i = 1; i <= 3; i++) world.says('sala', `m${i}`);
    await ana.sawHead();
    node.last.cut();
    await ana.waits();
    world.log('sala').rewind(1);
    let first = true;
    node.onRequest = (conn, request) => {
      if (request.method !== 'joinRoom' || !first) return false;
      first = false;
      conn.held = true;
      conn.join(request);
      return closing(conn);
    };
    ana.timers.advance(1000);
    await until('it was told', () => ana.story.includes('reset'));
    assert.equal(ana.room.held, null);
    await ana.returns();
    assert.equal(node.last.asked('joinRoom')[0]!.params['lastMessageId'], undefined);
    assert.deepEqual(ana.story.slice(4), ['reset', 'message 1', 'live 1']);
    await ana.client.close();
  }));

test('with a limit the join leaves out what is older; without a position nothing is skipped', () =>
  inWorld(async (world) => {
    for (let i = 1; i <= 9; i++) world.says('sala', `m${i}`);
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives({ limit: 2 });
    assert.deepEqual(ana.story, ['message 8', 'message 9', 'live 9']);
    const eva = await new Person(world, node.url, { name: 'Eva' }).arrives({ limit: 2, lastMessageId: world.log('sala').position(3) });
    assert.deepEqual(eva.story, ['skipped 3 8', 'message 8', 'message 9', 'live 9']);
    assert.equal(eva.room.held!.from, 8);
    const ida = await new Person(world, node.url, { name: 'Ida' }).arrives({ limit: 0 });
    assert.deepEqual(ida.story, ['live 9']);
    assert.deepEqual(ida.room.held, { from: 10, to: 9, chain: world.log('sala').position(9).slice(2), position: world.log('sala').position(9) });
    world.says('sala', 'next');
    await ida.sawHead();
    assert.deepEqual(ida.texts, ['next']);
    await Promise.all([ana, eva, ida].map((each) => each.client.close()));
  }));

test('a return brings everything, however much; with catchUpLimit the newest, and says what it skipped', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = await new Person(world, node.url).arrives({ limit: 10 });
    const eva = await new Person(world, node.url, { name: 'Eva' }).arrives({ catchUpLimit: 5 });
    for (const conn of node.open) conn.cut();
    await Promise.all([ana.waits(), eva.waits()]);
    for (let i = 1; i <= 300; i++) world.says('sala', `m${i}`);
    await Promise.all([ana.returns(), eva.returns()]);
    ana.sawAll();
    eva.sawAll(296);
    assert.ok(eva.story.includes('skipped 0 296'));
    await Promise.all([ana, eva].map((each) => each.client.close()));
  }));

test('a position that is malformed is refused here', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = new Person(world, node.url);
    await assert.rejects(ana.room.join({ userName: 'Ana', lastMessageId: 'x' }), (error: TertuliaError) => error.code === 'invalid');
    await assert.rejects(ana.room.join({ userName: 'Ana', userKey: 'short' }), (error: TertuliaError) => error.code === 'invalid');
    assert.equal(ana.room.state.phase, 'idle');
  }));
