// Do the tests notice? Each mutant breaks one rule of the library; with each, `npm test` must fail. Takes some minutes:
//   node test/mutants.mjs [WORD…]   only mutants whose name has one of these words
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const mutants = [
  ['unacked messages are resent newest first', 'outbox.ts', 'for (const entry of this.entries.values()) {\n      let sent', 'for (const entry of this.all().reverse()) {\n      let sent'],
  ['what was sent on any connection is not sent on the next', 'outbox.ts', 'sent ||= onLink === link', 'sent ||= onLink > 0'],
  ['an acked message is sent again for ever', 'outbox.ts', 'if (entry) this.remove(entry);\n    return entry;', 'return entry;'],
  ['an error decides although another send is unanswered', 'outbox.ts', "if (entry.sends.size > 0) return { kind: 'undecided' };", ''],
  ['a lost send is forgotten', 'outbox.ts', 'entry.lost = true;', ''],
  ['the queue has no end', 'outbox.ts', 'if (this.entries.size >= this.messagesMax || this.bytes + bytes > this.bytesMax) return false;', ''],
  ['repeats are delivered', 'log.ts', "return known === undefined || known === message.chain ? 'repeat' : 'mismatch';", "return 'next';"],
  ['a gap is not noticed', 'log.ts', "if (message.sequence !== this.end.sequence + 1) return 'gap';", ''],
  ['the chain is not checked', 'log.ts', "if (chainText(chain) !== message.chain) return 'mismatch';\n    if (this.from", 'if (this.from'],
  ['a page of history is not checked', 'log.ts', 'if (chainText(chain) !== message.chain) return false;', ''],
  ['a page need not lead to what is held', 'log.ts', 'if (!leads) return false;', ''],
  ['the head is not checked when live', 'log.ts', "if (this.end.sequence < head.sequence) return 'gap';", ''],
  ['reset does not drop what is held', 'connection.ts', 'room.log.drop();\n    room.onReset', 'room.onReset'],
  ['after reset the old connection is still believed', 'connection.ts', 'if (id < socket.id) this.sockets.get(id)?.muted.add(name)', 'void id'],
  ['skipped is not obeyed', 'connection.ts', 'room.log.drop();\n    room.onSkipped', 'room.onSkipped'],
  ['messages before the answer to a join count', 'connection.ts', "return (on === 'catchingUp' || on === 'live')", "return (on !== undefined)"],
  ['no member: the message counts as sent', 'outbox.ts', "return this.entries.get(uuid)?.sends.delete(request) ?? false;", 'return this.entries.has(uuid) && request > 0;'],
  ['no member is a refusal', 'connection.ts', 'if (error.code === rpc.notMember || error.retryable) {\n      if (!room', 'if (error.retryable) {\n      if (!room'],
  ['the push of an own message is no ack', 'connection.ts', 'if (message.own) this.acked', 'if (false) this.acked'],
  ["anybody's push with the uuid is an ack", 'connection.ts', 'if (message.own) this.acked', 'if (true) this.acked'],
  ['questions die with their connection', 'connection.ts', "if (asked.for === 'call') this.calls.lost(asked.call);", ''],
  ['the window is not kept', 'connection.ts', 'socket.unansweredSends < this.options.windowMessagesMax', 'true'],
  ['live fires again after a hand-over', 'connection.ts', "if (before !== 'live') room.onLive", 'room.onLive'],
  ['the old connection is closed before the new one is live', 'machine.ts', "next.rooms.get(room) !== 'live') return;", "next.rooms.get(room) === undefined) return;"],
  ['the old connection is never closed', 'machine.ts', "this.shut(old, closeNormal, 'moved');", ''],
  ['a failed hand-over is not tried again', 'machine.ts', 'else this.handOverIn(reconnectMs(how, this.nextAttempt(), this.env.random()));', ''],
  ['a join does not reset the back-off', 'machine.ts', 'this.set({ attempt: 0 });', ''],
  ['silence is not noticed', 'socket.ts', 'else this.hooks.silent();', ''],
  ['a key is made anew at each try', 'room.ts', "userKey: this.host.userKey() }", "userKey: 'x'.repeat(42) + String(this.host.now() % 10) }"],
  ['a return does not say what is held', 'room.ts', "if (held) params['lastMessageId'] = held.position;", ''],
];

// All but the terminal chat, which is built apart.
const suites = ['chain', 'client', 'handover', 'machine', 'model', 'pure', 'return'];

// In a process group of its own, so that a mutant that runs for ever ends with all its processes.
function run(cwd) {
  const env = { ...process.env, TERTULIA_EVENINGS: '6', TERTULIA_DEADLINE_MS: '2000' };
  delete env.TERTULIA_SEED;
  const child = spawn(process.execPath, ['test/run.mjs', ...suites], { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
  const timer = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), 120_000);
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  return new Promise((done) =>
    child.on('close', (status) => {
      clearTimeout(timer);
      done({ status, output });
    }),
  );
}

const client = join(dirname(fileURLToPath(import.meta.url)), '..');
const words = process.argv.slice(2);
const alive = [];
for (const [name, file, from, to] of mutants) {
  if (words.length > 0 && !words.some((word) => name.includes(word))) continue;
  const copy = mkdtempSync(join(tmpdir(), 'tertulia-mutant-'));
  for (const each of ['src', 'test', 'build.mjs', 'package.json', 'tsconfig.json']) {
    cpSync(join(client, each), join(copy, 'client', each), { recursive: true });
  }
  symlinkSync(join(client, 'node_modules'), join(copy, 'client', 'node_modules'));
  cpSync(join(client, '..', 'tests', 'vectors'), join(copy, 'tests', 'vectors'), { recursive: true });
  const path = join(copy, 'client', 'src', file);
  const source = readFileSync(path, 'utf8');
  if (source.split(from).length !== 2) throw new Error(`the mutant "${name}" does not fit ${file} any more`);
  writeFileSync(path, source.replace(from, () => to));
  execFileSync(process.execPath, ['build.mjs', '--tests', '--unchecked'], { cwd: join(copy, 'client') });
  const ran = await run(join(copy, 'client'));
  const failing = (ran.output.match(/^\s*not ok \d+ - (.*)$/gm) ?? []).map((line) => line.replace(/^.*? - /, ''));
  const noticed = ran.status !== 0;
  console.log(`${noticed ? 'noticed' : 'ALIVE  '}  ${name}${noticed ? ` (${failing.length || 'hangs'}: ${failing[0] ?? ''})` : ''}`);
  if (!noticed) alive.push(name);
  rmSync(copy, { recursive: true, force: true });
}
process.exit(alive.length === 0 ? 0 : 1);
