// script/chat as a person and as a pipe use it, against the test's own server.
import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { inWorld } from './person.js';
import { until, type Endpoint } from './world.js';

const client = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');
const program = join(client, 'chat', 'chat.mjs');
let state = '';

before(() => {
  execFileSync(join(client, '..', 'cmake', 'npm_build.sh'), [client, join(client, 'dist', '.built')]);
  state = mkdtempSync(join(tmpdir(), 'tertulia-chat-'));
});
after(() => rmSync(state, { recursive: true, force: true }));

class Run {
  out = '';
  err = '';
  code: number | null | undefined;
  private readonly child: ChildProcess;

  constructor(command: string, args: string[], environment: Record<string, string> = {}) {
    const env = { ...process.env, XDG_STATE_HOME: state, NO_COLOR: '1', TZ: 'UTC', TERM: 'xterm', ...environment };
    this.child = spawn(command, args, { env });
    this.child.stdout!.on('data', (data) => (this.out += String(data)));
    this.child.stderr!.on('data', (data) => (this.err += String(data)));
    this.child.on('close', (code) => (this.code = code));
  }

  types(text: string): void {
    this.child.stdin!.write(text);
  }

  ends(): void {
    this.child.stdin!.end();
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  shows(text: string): Promise<void> {
    return until(`${JSON.stringify(text)} is shown; so far: ${this.out}${this.err}`, () => this.out.includes(text));
  }

  async exits(code: number): Promise<void> {
    await until('it ends', () => this.code !== undefined);
    assert.equal(this.code, code, this.out + this.err);
  }
}

const piped = (node: Endpoint, name: string, environment?: Record<string, string>): Run =>
  new Run(process.execPath, [program, 'sala', name, node.url], environment);

// bsdutils' `script` gives a terminal, and every Debian has it.
const typed = (node: Endpoint, name: string): Run =>
  new Run('script', ['-qefc', `${process.execPath} ${program} sala ${name} ${node.url}`, '/dev/null']);

function files(folder = state): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((each) =>
    each.isDirectory() ? files(join(folder, each.name)) : [join(folder, each.name)],
  );
}

test('a line that is piped in is said, and the chat ends when it is acked', () =>
  inWorld(async (world) => {
    world.says('sala', 'good evening');
    const node = await world.endpoint();
    const ana = piped(node, 'ana');
    ana.types('hi\n\nthere');
    ana.ends();
    await ana.exits(0);
    assert.deepEqual(world.log('sala').frames.map((frame) => (frame['params'] as { text: string }).text), ['good evening', 'hi', 'there']);
    assert.equal(ana.out, '22:13 Berta: good evening\n22:13 ana: hi\n22:13 ana: there\n      * here: ana\n');
    assert.equal(ana.err, '');
    assert.equal(node.last.closeCode, 1000);
  }));

test('a pipe that is longer than the queue is said to its end, in order', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    node.messageBytesMax = 65536;
    const ana = piped(node, 'ana');
    const lines = Array.from({ length: 11_000 }, (_, i) => String(i));
    ana.types(lines.join('\n'));
    ana.ends();
    await ana.exits(0);
    assert.deepEqual(world.log('sala').frames.map((frame) => (frame['params'] as { text: string }).text), lines);
  }));

test('the same name is the same user the next time, and goes on where it was', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const run = async (): Promise<Run> => {
      const eva = piped(node, 'eva');
      eva.types('x\n');
      eva.ends();
      await eva.exits(0);
      return eva;
    };
    await run();
    world.says('sala', 'while you were away');
    const again = await run();
    assert.equal(again.out, '22:13 eva: x\n      * new since the last time:\n22:13 Berta: while you were away\n22:13 eva: x\n      * here: eva\n');
    const joins = node.conns.map((conn) => conn.asked('joinRoom')[0]!.params);
    assert.equal(joins[0]!['userKey'], joins[1]!['userKey']);
    assert.deepEqual(joins.map((each) => each['lastMessageId']), [undefined, world.log('sala').position(1)]);
    for (const file of files()) assert.equal(statSync(file).mode & 0o777, 0o600, file);
  }));

test('ten that begin at once, with one name, are one user, and leave whole files', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const all = Array.from({ length: 10 }, () => piped(node, 'ida'));
    for (const each of all) {
      each.types('hello\n');
      each.ends();
    }
    for (const each of all) await each.exits(0);
    assert.equal(world.log('sala').head, 10);
    assert.equal(new Set(node.conns.map((conn) => conn.asked('joinRoom')[0]!.params['userKey'])).size, 1);
    for (const file of files()) {
      assert.match(file, /\.json$/);
      JSON.parse(readFileSync(file, 'utf8'));
    }
  }));

test('what could not be sent is told, and the chat ends with 1', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    node.onRequest = (conn, { id, method }) => method === 'textMessage' && (conn.fail(id, -32603), true);
    const ana = piped(node, 'ana');
    ana.types('nobody wants this\n');
    ana.ends();
    await ana.exits(1);
    assert.match(ana.err, /not sent.*nobody wants this/);
  }));

test('a name that is taken is told, with what was not said', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    node.onRequest = (conn, { id, method }) => method === 'joinRoom' && (conn.fail(id, -32001), true);
    const ana = piped(node, 'ana');
    ana.types('hi\n');
    await ana.exits(1);
    assert.match(ana.err, /not sent.*: hi/);
    assert.match(ana.err, /somebody else is ana in sala/);
  }));

test('what others write cannot command the terminal or forge a line', () =>
  inWorld(async (world) => {
    const texts = ['\x1b[2J\x1b[31mred', '\x1b]0;title\x07bell\x07', 'one\n22:13 ana: forged', '\u202Egnp.exe', '\x9b31mc1', 'tab\there', '\r\x1b(0x'];
    for (const text of texts) world.says('sala', text);
    const node = await world.endpoint();
    const ana = piped(node, 'ana');
    ana.ends();
    await ana.exits(0);
    assert.deepEqual(ana.out.split('\n').slice(0, 9), [
      '22:13 Berta: red',
      '22:13 Berta: bell',
      '22:13 Berta: one',
      '      22:13 ana: forged',
      '22:13 Berta: gnp.exe',
      '22:13 Berta: 31mc1',
      '22:13 Berta: tab here',
      '22:13 Berta: ',
      '      x',
    ]);
  }));

test('on a terminal, what comes in leaves the typed line whole, and Ctrl-C leaves after sending', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const ana = typed(node, 'ana');
    await ana.shows('here: ana');
    ana.types('half a li');
    await ana.shows('half a li');
    const from = ana.out.length;
    world.says('sala', 'excuse me');
    await until('the line is there again', () => /Berta: excuse me\r?\n.*ana> half a li/s.test(ana.out.slice(from)));
    ana.types('ne\r');
    await ana.shows('ana: half a line');
    node.last.notify('userJoined', { roomName: 'sala', userId: '~b', userName: 'Berta' });
    await ana.shows('Berta came');
    node.last.notify('userLeft', { roomName: 'sala', userId: '~b', userName: 'Berta' });
    await ana.shows('Berta left');
    node.last.cut();
    await ana.shows('no connection');
    await ana.shows('connected');
    await until('it is back', () => node.last.cursors.has('sala'));
    ana.types('last words\r\x03');
    await ana.exits(0);
    assert.deepEqual(world.log('sala').frames.map((frame) => (frame['params'] as { text: string }).text), ['excuse me', 'half a line', 'last words']);
    assert.equal(node.last.closeCode, 1000);
  }));

test('a second Ctrl-C ends at once what cannot be sent', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    node.onRequest = (_conn, { method }) => method === 'textMessage';
    const ana = piped(node, 'ana');
    ana.types('into the void\n');
    await until('it was heard', () => node.conns.length === 1 && node.last.texts('sala').length === 1);
    ana.signal('SIGINT');
    await new Promise((resolve) => setImmediate(resolve));
    await until('it ends', () => {
      ana.signal('SIGINT');
      return ana.code !== undefined;
    });
    assert.equal(ana.code, 130);
  }));

test('a state folder that cannot be used is told, and the chat goes on without it', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const blocked = join(state, 'blocked');
    writeFileSync(blocked, '');
    const ana = piped(node, 'ana', { XDG_STATE_HOME: blocked });
    ana.types('hi\n');
    ana.ends();
    await ana.exits(0);
    assert.match(ana.err, /nothing can be kept/);
    assert.equal(world.log('sala').head, 1);
  }));

test('a key that was damaged is never replaced silently', () =>
  inWorld(async (world) => {
    const node = await world.endpoint();
    const run = (): Run => {
      const ana = piped(node, 'olga');
      ana.ends();
      return ana;
    };
    const known = new Set(files());
    await run().exits(0);
    const key = files().find((file) => !known.has(file) && file.endsWith('key.json'))!;
    writeFileSync(key, '{"user');
    const again = run();
    await again.exits(1);
    assert.match(again.err, /holds no key any more/);
    assert.equal(readFileSync(key, 'utf8'), '{"user');
  }));

test('wrong arguments get one sentence or the usage', async () => {
  for (const [args, code, text] of [
    [[], 2, /usage/],
    [['sala'], 2, /usage/],
    [['--help'], 0, /usage/],
    [['sala', 'ana', 'ftp://x'], 2, /no address/],
    [['sala', 'ana', 'a', 'b'], 2, /usage/],
  ] as const) {
    const run = new Run(process.execPath, [program, ...args]);
    await run.exits(code);
    assert.match(run.err, text);
  }
});
