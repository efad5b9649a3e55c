// Make before break: the new connection is open and caught up before the old one is closed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TertuliaError } from '../src/index.js';
import { inWorld, Person } from './person.js';
import { until, World, type Endpoint, type Request } from './world.js';

// One address, two servers behind it: the last one named is where new connections go.
async function behindOneDoor(world: World): Promise<{ url: string; a: Endpoint; b: Endpoint; to(node: Endpoint): void }> {
  const a = await world.endpoint('a');
  const b = await world.endpoint('b');
  let now = a;
  return {
    a,
    b,
    get url() {
      return now.url;
    },
    to(node) {
      now = node;
    },
  };
}

// A client whose every new connection goes to where the door points.
async function anaAt(world: World, door: { url: string }, chanceless = true): Promise<Person> {
  const { WebSocket } = await import('ws');
  class AtTheDoor extends WebSocket {
    constructor(_url: string, protocols: string[]) {
      super(door.url, protocols);
    }
  }
  const ana = new Person(world, door.url, { WebSocket: AtTheDoor as never });
  if (chanceless) ana.chance = 0.5;
  return ana.arrives();
}

test('asked to hand over, it is live on the new server before it leaves the old, and nobody notices', () =>
  inWorld(async (world) => {
    const door = await behindOneDoor(world);
    const ana = await anaAt(world, door);
    await ana.room.send('one');
    await ana.sawHead();
    door.to(door.b);
    const before = ana.roomStates.length + ana.states.length;
    const { a, b } = door;
    let joinedWhileOldOpen = false;
    b.onRequest = (_conn, { method }) => {
      if (method === 'joinRoom') joinedWhileOldOpen = a.last.open;
      return false;
    };
    a.last.notify('reconnect', { afterMs: 300, deadlineMs: 2000, reason: 'drain' });
    await until('the delay runs', () => ana.timers.waits.includes(300));
    ana.timers.advance(299);
    assert.equal(b.conns.length, 0);
    ana.timers.advance(1);
    await until('the old one is closed', () => !a.last.open);
    assert.equal(a.last.closeCode, 1000);
    assert.ok(joinedWhileOldOpen);
    assert.equal(b.last.asked('joinRoom')[0]!.params['lastMessageId'], world.log('sala').position(1));
    assert.equal(ana.roomStates.length + ana.states.length, before);
    assert.deepEqual(ana.story, ['live 0', 'message 1']);
    await ana.room.send('two');
    assert.deepEqual(b.last.texts('sala'), ['two']);
    ana.sawAll();
    await ana.client.close();
  }));

test('what both servers deliver during a hand-over is delivered once', () =>
  inWorld(async (world) => {
    const door = await behindOneDoor(world);
    const ana = await anaAt(world, door);
    const { a, b } = door;
    door.to(b);
    let join: Request | undefined;
    b.onRequest = (_conn, request) => request.method === 'joinRoom' && ((join = request), true);
    a.last.notify('reconnect', { afterMs: 0, deadlineMs: 2000, reason: 'drain' });
    await until('the delay runs', () => ana.timers.waits.includes(0));
    ana.timers.advance(0);
    await until('it asks b', () => join !== undefined);
    for (let i = 0; i < 4; i++) world.says('sala', `over a ${i}`); // a delivers; b will, again
    await until('a has brought them', () => ana.messages.length === 4);
    b.last.held = true;
    b.last.join(join!);
    b.last.held = false;
    b.last.deliver('sala');
    for (let i = 0; i < 4; i++) world.says('sala', `over both ${i}`);
    b.last.notify('live', { roomName: 'sala', sequence: 4 });
    await until('the old one is closed', () => !a.last.open);
    world.says('sala', 'over b');
    await ana.sawHead();
    ana.sawAll();
    assert.deepEqual(ana.errors, []);
    await ana.client.close();
  }));

test('what is unacked is sent again on the new server, in order, before anything new', () =>
  inWorld(async (world) => {
    const door = await behindOneDoor(world);
    const ana = await anaAt(world, door);
    const { a, b } = door;
    door.to(b);
    a.onRequest = (_conn, { method }) => method === 'textMessage'; // taken, the store is slow
    const early = ['a', 'b'].map((text) => ana.room.send(text));
    await until('a heard them', () => a.last.texts('sala').length === 2);
    a.last.notify('reconnect', { afterMs: 0, deadlineMs: 2000, reason: 'drain' });
    await until('the delay runs', () => ana.timers.waits.includes(0));
    ana.timers.advance(0);
    const late = ana.room.send('c');
    const sent = await Promise.all([...early, late]);
    assert.deepEqual(sent.map((each) => each.sequence), [1, 2, 3]);
    assert.deepEqual(b.last.texts('sala'), ['a', 'b', 'c']);
    await until('the old one is closed', () => !a.last.open);
    ana.sawAll();
    await ana.client.close();
  }));

test('the new server goes away again: on the old one everything older is sent before anything newer', () =>
  inWorld(async (world) => {
    const door = await behindOneDoor(world);
    const ana = await anaAt(world, door);
    const { a, b } = door;
    door.to(b);
    b.onRequest = (conn, request) => {
      if (request.method === 'joinRoom') {
        conn.held = true; // joined, and never live
        conn.join(request);
        return true;
      }
      return request.method === 'textMessage'; // heard, not answered
    };
    a.onRequest = (_conn, { method }) => method === 'textMessage' && a.last.texts('sala').length <= 1;
    const first = ana.room.send('a1');
    await until('a heard it', () => a.last.texts('sala').length === 1);
    a.last.notify('reconnect', { afterMs: 0, deadlineMs: 2000, reason: 'drain' });
    await until('the delay runs', () => ana.timers.waits.includes(0));
    ana.timers.advance(0);
    await until('b is joined', () => b.conns.length === 1 && b.last.texts('sala').length === 1);
    const more = ['b2', 'b3'].map((text) => ana.room.send(text));
    await until('b heard them', () => b.last.texts('sala').length === 3);
    b.closed = true;
    b.last.cut();
    await until('a heard the rest', () => a.last.texts('sala').length === 3);
    assert.deepEqual(a.last.texts('sala'), ['a1', 'b2', 'b3']);
    assert.equal(ana.room.state.phase, 'live');
    a.last.say(a.last.asked('textMessage')[0]!); // the first answer comes now
    await Promise.all([first, ...more]);
    await ana.client.close();
  }));

test('an error on one connection decides nothing while the other has not answered', () =>
  inWorld(async (world) => {
    const door = await behindOneDoor(world);
    const ana = await anaAt(world, door);
    const { a, b } = door;
    door.to(b);
    const heard: { node: Endpoint; request: Request }[] = [];
    for (const node of [a, b]) {
      node.onRequest = (conn, request) => {
        if (request.method === 'joinRoom' && node === b) {
          conn.held = true;
          conn.join(request);
          return true;
        }
        if (request.method !== 'textMessage') return false;
        heard.push({ node, request });
        return true;
      };
    }
    let failed: TertuliaError | undefined;
    ana.room.on('failed', ({ error }) => (failed = error));
    const sends = ['x', 'y'].map((text) => ana.room.send(text));
    await until('a heard both', () => heard.length === 2);
    a.last.notify('reconnect', { afterMs: 0, deadlineMs: 2000, reason: 'drain' });
    await until('the delay runs', () => ana.timers.waits.includes(0));
    ana.timers.advance(0);
    await until('b heard both', () => heard.length === 4);
    const id = (i: number): number => heard[i]!.request.id;
    a.last.fail(id(0), -32603); // x: refused by a; b will accept it
    a.last.fail(id(1), -32603); // y: refused by both
    await ana.client.rooms();
    assert.equal(failed, undefined);
    assert.equal(ana.room.pending.length, 2);
    b.last.say(heard[2]!.request);
    b.last.fail(id(3), -32603);
    assert.equal((await sends[0]!).sequence, 1);
    await assert.rejects(sends[1]!, (error: TertuliaError) => error.code === 'refused' && error.outcome === 'none');
    await ana.client.close();
  }));

test('no open door: it stays where it is, tries again, and goes on with back-off when the old server closes', () =>
  inWorld(async (world) => {
    const door = await behindOneDoor(world);
    const ana = await anaAt(world, door);
    const { a, b } = door;
    door.to(b);
    b.closed = true;
    a.last.notify('reconnect', { afterMs: 0, deadlineMs: 2000, reason: 'drain' });
    await until('the delay runs', () => ana.timers.waits.includes(0));
    ana.timers.advance(0);
    for (const wait of [500, 250, 500]) {
      await until(`the next try is in ${wait} ms`, () => ana.timers.waits.includes(wait));
      assert.equal((await ana.room.send('still here')).repeated, false);
      ana.timers.advance(wait);
    }
    await until('it failed again', () => ana.timers.waits.includes(1000));
    a.last.close(1012);
    await ana.waits();
    assert.equal(ana.client.state.retryInMs, 2000);
    world.says('sala', 'meanwhile');
    b.closed = false;
    ana.timers.advance(2000);
    await ana.isLive();
    await ana.sawHead();
    ana.sawAll();
    await ana.client.close();
  }));

test('the old server closes while the new one is catching up: the new one goes on alone', () =>
  inWorld(async (world) => {
    const door = await behindOneDoor(world);
    const ana = await anaAt(world, door);
    const { a, b } = door;
    door.to(b);
    b.onRequest = (conn, request) => {
      if (request.method === 'joinRoom') {
        conn.held = true;
        conn.join(request);
        return true;
      }
      return false;
    };
    a.last.notify('reconnect', { afterMs: 0, deadlineMs: 2000, reason: 'drain' });
    await until('the delay runs', () => ana.timers.waits.includes(0));
    ana.timers.advance(0);
    await until('b is asked', () => b.conns.length === 1 && b.last.cursors.size === 1);
    a.last.close(1012);
    await ana.phase('catchingUp');
    assert.equal(ana.client.state.phase, 'online');
    world.says('sala', 'one');
    b.last.held = false;
    b.last.deliver('sala');
    b.last.notify('live', { roomName: 'sala', sequence: 1 });
    await ana.isLive();
    await ana.sawHead();
    ana.sawAll();
    assert.equal(a.conns.length + b.conns.length, 2);
    await ana.client.close();
  }));

test('the new server has another past: reset, and the old server is not believed any more', () =>
  inWorld(async (world) => {
    const other = new World();
    try {
      const a = await world.endpoint('a');
      const b = await other.endpoint('b');
      for (const each of [world, other]) for (let i = 1; i <= 3; i++) each.says('sala', `m${i}`);
      world.says('sala', 'only in the old past');
      other.says('sala', 'only in the new past');
      let url = a.url;
      const ana = await anaAt(world, {
        get url() {
          return url;
        },
      });
      url = b.url;
      let join: Request | undefined;
      b.onRequest = (_conn, request) => request.method === 'joinRoom' && join === undefined && ((join = request), true);
      a.last.notify('reconnect', { afterMs: 0, deadlineMs: 2000, reason: 'drain' });
      await until('the delay runs', () => ana.timers.waits.includes(0));
      ana.timers.advance(0);
      await until('b is asked', () => join !== undefined);
      b.last.held = true;
      b.last.join(join!);
      await until('it is told', () => ana.story.includes('reset'));
      world.says('sala', 'from the old past, too late');
      await ana.client.rooms();
      b.last.held = false;
      b.last.deliver('sala');
      b.last.notify('live', { roomName: 'sala', sequence: 4 });
      await until('the old one is closed', () => !a.last.open);
      assert.deepEqual(ana.texts.slice(4), ['m1', 'm2', 'm3', 'only in the new past']);
      assert.equal(ana.room.held!.position, other.log('sala').position(4));
      assert.deepEqual(ana.errors, []);
      await ana.client.close();
    } finally {
      await other.end();
    }
  }));

test('two rooms: the old connection is kept until both are live on the new one', () =>
  inWorld(async (world) => {
    const door = await behindOneDoor(world);
    const ana = await anaAt(world, door);
    const cocina = ana.client.room('cocina');
    await cocina.join({ userName: 'Ana' });
    await until('both are live', () => cocina.state.phase === 'live');
    const { a, b } = door;
    door.to(b);
    let busy: Request | undefined;
    b.onRequest = (conn, request) => {
      if (request.method !== 'joinRoom' || request.params['roomName'] !== 'cocina' || busy) return false;
      busy = request;
      conn.fail(request.id, -32013, { retryable: true, retryAfterMs: 100 });
      return true;
    };
    a.last.notify('reconnect', { afterMs: 0, deadlineMs: 2000, reason: 'drain' });
    await until('the delay runs', () => ana.timers.waits.includes(0));
    ana.timers.advance(0);
    await until('sala is live there', () => b.conns.length === 1 && b.last.cursors.has('sala') && busy !== undefined);
    await until('it waits to ask again', () => ana.timers.waits.includes(350));
    assert.ok(a.last.open);
    assert.equal(cocina.state.phase, 'live');
    ana.timers.advance(350);
    await until('the old one is closed', () => !a.last.open);
    assert.deepEqual([...b.last.cursors.keys()], ['sala', 'cocina']);
    await ana.client.close();
  }));
