// A chat in the terminal: script/chat ROOM NAME [URL]. What a person types is said; what the room says is shown.
import { Client, TertuliaError } from '../dist/index.js';
import { WebSocket } from 'ws';
import { Memory } from './memory.mjs';
import { Screen, harmless } from './screen.mjs';

const flushMs = 10_000; // how long leaving waits for an ack
const catchUpMost = 1000;
const contextMost = 10;
const sendsAtOnce = 256;
const tellMost = 10;

const usage = `usage: script/chat ROOM NAME [URL]

Chats in a terminal; text that is piped in is said line by line. URL is the server's, http://… or ws://…;
default http://127.0.0.1:8080. Ctrl-D or Ctrl-C leaves, after what was typed has been sent.
One key per server and name, and the place in each room, are kept under $XDG_STATE_HOME/tertulia.`;

/** http://host:port, or ws://host:port/chat, as the address of the WebSocket. */
function address(text) {
  const url = new URL(text.includes('://') ? text : `http://${text}`);
  if (url.protocol === 'http:' || url.protocol === 'https:') url.protocol = url.protocol.replace('http', 'ws');
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') throw new TypeError('not http, https, ws or wss');
  if (url.pathname === '/') url.pathname = '/chat';
  return url.href;
}

const [roomName, userName, given = 'http://127.0.0.1:8080', ...rest] = process.argv.slice(2);
if (!roomName || !userName || rest.length > 0 || roomName.startsWith('-')) {
  console.error(usage);
  process.exit(roomName === '--help' || roomName === '-h' ? 0 : 2);
}
let url;
try {
  url = address(given);
} catch {
  console.error(`script/chat: ${given} is no address of a server; try http://127.0.0.1:8080`);
  process.exit(2);
}

let memory;
let userKey;
try {
  memory = new Memory(url, userName);
  userKey = memory.userKey();
} catch (error) {
  if (!error.code) {
    console.error(`script/chat: ${error.message}`);
    process.exit(1);
  }
  console.error(`script/chat: nothing can be kept for the next time (${error.message})`);
  memory = undefined;
}

const screen = new Screen();
const client = new Client({ url, WebSocket });
const room = client.room(roomName);
let held = []; // messages that wait for what is shown before them; undefined once they go straight to the screen
let since = memory?.position(roomName); // where we were the last time
const typed = []; // lines that the library has not got yet
let unsent = 0; // lines that it has, and that are not acked
let failures = 0;
let acks = 0;
let down = false;
let leaving = false;
let introduced;
const introduction = new Promise((done) => (introduced = done));

const clock = (ms) => new Date(ms).toTimeString().slice(0, 5);
const tell = (text) => screen.print(screen.quiet(`      * ${text}`));
const say = (text) => process.stderr.write(`${text}\n`);

function show({ kind, userName: who, text, fileName, sentAt }) {
  const what = kind === 'text' ? harmless(text) : `(${kind === 'image' ? 'an image' : `the file ${harmless(fileName)}`})`;
  screen.print(`${screen.quiet(clock(sentAt))} ${screen.bold(`${harmless(who)}:`)} ${what}`);
}

let keeping;
function keep() {
  keeping = undefined;
  if (!memory || !room.held) return;
  try {
    memory.keepPosition(roomName, room.held.position);
  } catch (error) {
    tell(`this place in the room could not be kept (${error.message})`);
    memory = undefined;
  }
}

function prompt() {
  const waiting = unsent + typed.length;
  const how = room.state.phase === 'live' ? '' : ` (${room.state.phase === 'offline' ? 'offline' : 'joining'})`;
  screen.prompt(`${userName}${how}${waiting > 0 ? ` [${waiting} to send]` : ''}> `);
}

room.on('message', (message) => {
  if (held) held.push(message);
  else show(message);
  if (!held) room.read(message.sequence);
  keeping ??= setTimeout(keep, 1000);
});
room.on('skipped', ({ after, before }) => (held ?? []).push({ note: `${before - after - 1} messages are left out here` }));
room.on('reset', () => {
  held?.splice(0);
  since = undefined;
  tell('the log that was shown is not the server\'s any more; this is what it has now:');
});
room.on('live', async () => {
  if (!held) return;
  try {
    const first = held.find((each) => each.sequence)?.sequence;
    if (since) {
      const before = first ?? room.held.to + 1;
      for (const message of (await room.history({ before, limit: contextMost })).messages) show(message);
      if (held.length > 0) tell('new since the last time:');
    }
    const { members, total } = await room.members({ limit: 20 });
    for (const each of held) each.note ? tell(each.note) : show(each);
    tell(`here: ${members.map((each) => harmless(each.userName)).join(', ')}${total > members.length ? ` and ${total - members.length} more` : ''}`);
  } catch (error) {
    for (const each of held) each.note ? tell(each.note) : show(each);
    if (!leaving) tell(error.message);
  }
  held = undefined;
  if (room.held) room.read(room.held.to);
  introduced();
});
room.on('joined', (who) => tell(`${harmless(who.userName)} came`));
room.on('left', (who) => tell(`${harmless(who.userName)} left`));
room.on('failed', ({ text, error }) => {
  failures++;
  if (error.code !== 'closed') say(`script/chat: not sent (${error.message}): ${text}`);
  queueMicrotask(sendOn);
});
room.on('error', (error) => tell(harmless(error.message)));
room.on('sent', () => {
  acks++;
  queueMicrotask(sendOn); // when the promise has settled, too
});
room.on('state', ({ phase, error, retryInMs }) => {
  if (phase === 'waiting') tell(`${harmless(error?.message ?? 'not let in')}; trying again in ${Math.ceil(retryInMs / 1000)} s`);
  prompt();
});
client.on('state', ({ phase, retryInMs }) => {
  if (phase === 'waiting' && !down) {
    down = true;
    tell(`no connection to ${url}; trying again in ${Math.ceil(retryInMs / 1000)} s, and on`);
  } else if (phase === 'online' && down) {
    down = false;
    tell('connected');
  }
});

// What was typed goes to the library a window at a time: a long pipe waits here, and is read on when there is room again.
function sendOn() {
  for (; typed.length > 0 && unsent < sendsAtOnce; unsent++) {
    const settled = () => unsent--;
    room.send(typed.shift()).then(settled, settled);
  }
  screen.flow(typed.length === 0);
  prompt();
}

// Leaves after what was typed has been sent; `looks`: and after it has been shown what there is.
async function leave(code, looks = false) {
  if (leaving) return process.exit(130);
  leaving = true;
  const late = new Promise((done) => setTimeout(done, flushMs));
  // The end of a pipe may take its time, as long as it goes on; a person at Ctrl-C waits once.
  const begun = performance.now();
  for (let before = -1; unsent + typed.length > 0 && acks !== before; ) {
    if (!looks && performance.now() - begun >= flushMs) break;
    before = acks;
    await room.flush(flushMs);
    await new Promise(setImmediate);
  }
  if (looks || room.state.phase === 'live') await Promise.race([introduction, late]);
  const left = [...room.pending.map(({ text }) => text), ...typed];
  if (left.length > 0 && client.state.phase !== 'online') say(`script/chat: no connection to ${url}`);
  for (const text of left.slice(0, tellMost)) say(`script/chat: not sent: ${text}`);
  if (left.length > tellMost) say(`script/chat: and ${left.length - tellMost} lines more`);
  clearTimeout(keeping);
  keep();
  screen.end();
  await client.close();
  process.exit(left.length > 0 || failures > 0 ? 1 : code);
}

screen.on({
  line(text) {
    if (text.trim() === '') return;
    typed.push(text);
    sendOn();
  },
  end: () => leaving || leave(0, true),
  interrupt: () => leave(0),
});
process.stdout.on('error', () => process.exit(1)); // whoever read us has gone
client.connect().catch(() => {});
room.join({ userName, userKey, lastMessageId: since, limit: since ? catchUpMost : undefined }).catch((error) => {
  if (leaving && error.code === 'closed') return;
  const taken = error instanceof TertuliaError && error.code === 'nameTaken';
  say(`script/chat: ${taken ? `somebody else is ${userName} in ${roomName}; take another name` : error.message}`);
  failures++;
  introduced();
  if (!leaving) void leave(1);
});
prompt();
