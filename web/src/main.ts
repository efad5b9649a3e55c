// The page: joins the library, what the browser remembers, and the view. One client, and so one user, for all rooms of the
// page; the room is in the address behind '#', so that a link invites.
import { Client, type Message, type TertuliaError } from 'tertulia-client';
import { Conversation } from './conversation.js';
import { Heard } from './heard.js';
import { Memory, browserShelf } from './memory.js';
import { View, element, make } from './view.js';
import { lineOf, otherName, titleOf, tooLong, whyNotIn, wrongWithName } from './words.js';

// How long a room that was left is kept for what is still to be sent there.
const patienceMs = 30_000;
const saveEveryMs = 500;

const memory = new Memory(browserShelf());
const client = new Client({ url: chatAddress() });
const heard = new Heard(element('heard'));
const told = element('told');
let current: Conversation | undefined;
/** Left, but not everything said there is sent yet. */
const departing = new Map<string, Conversation>();

function chatAddress(): string {
  const url = new URL('chat', document.baseURI);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.hash = url.search = '';
  return url.href;
}

function makeUuid(): string {
  // No crypto.randomUUID: browsers have it only on https.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function isLookedAt(): boolean {
  return document.visibilityState === 'visible';
}

// ---- drawing: at most once a frame, and now and then while nobody looks

let drawing = false;
function changed(): void {
  if (drawing) return;
  drawing = true;
  if (isLookedAt()) requestAnimationFrame(draw);
  else setTimeout(draw, 200);
}

function draw(): void {
  drawing = false;
  drawLine();
  document.title = titleOf(current?.room.name ?? '', current?.unseen ?? 0);
  const icon = document.querySelector<HTMLLinkElement>('link[rel=icon]')!;
  const wanted = (current?.unseen ?? 0) > 0 ? 'favicon-new.svg' : 'favicon.svg';
  if (icon.getAttribute('href') !== wanted) icon.setAttribute('href', wanted);
  if (!current || table.hidden) return;
  view.draw(current, Date.now());
  drawHint();
  savePosition();
}

const view = new View({
  older: () => void current?.older(),
  newer: () => void current?.newer(),
  toEnd: () => {
    const going = current;
    view.goToEnd();
    void going?.toEnd().then(() => {
      if (going !== current) return;
      draw();
      view.goToEnd();
      changed();
    });
    say.focus();
  },
  retry: (uuid) => {
    current?.retry(uuid);
    say.focus();
  },
  remove: (uuid) => {
    current?.remove(uuid);
    say.focus();
  },
  following: (following) => {
    current?.setFollowing(following);
    changed();
  },
});

// ---- the line at the top

const line = element('line');
let retryAt = 0;
let ticking: ReturnType<typeof setInterval> | undefined;
let spoken = '';
let wasLive = false;

function drawLine(): void {
  const room = current?.room.state;
  const now = lineOf(client.state, room, navigator.onLine, retryAt - performance.now());
  line.hidden = now.tone === 'none';
  line.dataset['tone'] = now.tone;
  setText(element('line-text'), now.text);
  element('line-retry').hidden = !now.retry;
  element('line-rename').hidden = !now.rename;
  const waits = client.state.phase === 'waiting' || room?.phase === 'waiting';
  if (waits && ticking === undefined) ticking = setInterval(changed, 250);
  if (!waits && ticking !== undefined) {
    clearInterval(ticking);
    ticking = undefined;
  }
  const live = client.state.phase === 'online' && room?.phase === 'live';
  // Each change once, and that all is well again only to whom it was said that it is not.
  if (now.spoken !== '' && now.spoken !== spoken && (wasLive || now.tone === 'bad')) tell((spoken = now.spoken));
  if (live) {
    if (spoken !== '') tell('Connected again.');
    spoken = '';
    wasLive = true;
  }
}

function setText(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

function tell(text: string): void {
  told.textContent = text;
}

function noteRetry(retryInMs: number | undefined): void {
  if (retryInMs !== undefined) retryAt = performance.now() + retryInMs;
  changed();
}

client.on('state', ({ retryInMs }) => noteRetry(retryInMs));
element('line-retry').addEventListener('click', () => client.retryNow());
element('line-rename').addEventListener('click', () => {
  showDoor({ room: current?.room.name ?? '', name: current?.userName ?? '' });
  nameField.focus();
});
window.addEventListener('online', () => client.retryNow());
window.addEventListener('offline', changed);

// ---- the door

const door = element('door');
const roomField = element<HTMLInputElement>('door-room');
const nameField = element<HTMLInputElement>('door-name');
const enterButton = element('door-enter');
const otherButton = element('door-other');
const table = element('table');

function showDoor(filled: { room: string; name: string }): void {
  table.hidden = true;
  door.hidden = false;
  document.body.dataset['at'] = 'door';
  roomField.value = filled.room;
  nameField.value = filled.name;
  wrong('room', '');
  wrong('name', '');
  wrong('none', '');
  setEntering(false);
  const names = memory.roomNames.slice(0, 8);
  element('door-lately').hidden = names.length === 0;
  element('door-rooms').replaceChildren(
    ...names.map((name) => {
      const link = make('a', '', name) as HTMLAnchorElement;
      link.href = `#${encodeURIComponent(name)}`;
      link.dir = 'auto';
      return make('li', '', link);
    }),
  );
  changed();
}

function wrong(field: 'room' | 'name' | 'none', text: string): void {
  element(field === 'none' ? 'door-wrong' : `door-${field}-wrong`).textContent = text;
  const input = field === 'room' ? roomField : field === 'name' ? nameField : undefined;
  if (text === '') input?.removeAttribute('aria-invalid');
  else input?.setAttribute('aria-invalid', 'true');
  if (field === 'name' && text === '') otherButton.hidden = true;
}

function setEntering(entering: boolean): void {
  enterButton.textContent = entering ? 'Coming in…' : 'Come in';
  enterButton.setAttribute('aria-disabled', String(entering));
}

for (const [field, what] of [[roomField, 'room'], [nameField, 'name']] as const) {
  field.addEventListener('input', () => wrong(what, ''));
}
otherButton.addEventListener('click', () => {
  nameField.value = otherName(nameField.value.trim());
  wrong('name', '');
  nameField.focus();
});
element<HTMLFormElement>('door-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const room = roomField.value.trim();
  const name = nameField.value.trim();
  const wrongRoom = wrongWithName(room, 'room');
  const wrongName = wrongWithName(name, 'name');
  wrong('room', wrongRoom);
  wrong('name', wrongName);
  if (wrongRoom || wrongName) return (wrongRoom ? roomField : nameField).focus();
  if (enterButton.getAttribute('aria-disabled') === 'true' && current?.room.name === room && current.userName === name) return;
  if (hashRoom() !== room) history.pushState(null, '', `#${encodeURIComponent(room)}`);
  void enter(room, name, 'from the door');
});

// ---- coming in and leaving

let entering = 0;

async function enter(roomName: string, userName: string, how: 'from the door' | 'straight'): Promise<void> {
  const turn = ++entering;
  const conversation = conversationOf(roomName);
  wrong('none', '');
  setEntering(true);
  if (how === 'straight') showTable();
  try {
    if (conversation.isIn && conversation.userName !== userName) await conversation.stepOut();
    if (turn !== entering) return;
    if (!conversation.isIn) {
      const position = conversation.heldPosition ?? memory.room(roomName)?.position ?? null;
      const joining = conversation.join(userName, memory.userKey, position);
      // At once: should the page be left before the answer, it is the same user who comes back.
      if (client.user) memory.userKey = client.user.userKey;
      void client.connect();
      changed();
      await joining;
      if (client.user) memory.userKey = client.user.userKey;
    }
    if (turn !== entering || conversation !== current) return;
    memory.userName = userName;
    memory.note(roomName, { userName, here: true });
    showTable();
    if (how === 'from the door' || matchMedia('(hover: hover)').matches) say.focus();
  } catch (error) {
    if (turn !== entering) return;
    if (memory.room(roomName)) memory.note(roomName, { here: false });
    showDoor({ room: roomName, name: userName });
    const { field, text } = whyNotIn(error as TertuliaError, userName);
    wrong(field, text);
    if ((error as TertuliaError).code === 'nameTaken') {
      otherButton.textContent = `Be ${otherName(userName)} instead`;
      otherButton.hidden = false;
    }
    (field === 'room' ? roomField : nameField).focus();
  }
}

function conversationOf(roomName: string): Conversation {
  if (current?.room.name === roomName) return current;
  if (current) depart(current);
  let conversation = departing.get(roomName);
  departing.delete(roomName);
  conversation?.stay();
  if (!conversation) {
    const watcher = { changed, waits: noteRetry, heard: (message: Message) => heard.say(message), told: tell };
    conversation = new Conversation(client.room(roomName), watcher, makeUuid);
  }
  current = conversation;
  conversation.setLooking(isLookedAt());
  view.clear();
  return conversation;
}

function depart(conversation: Conversation): void {
  const { name } = conversation.room;
  current = undefined;
  departing.set(name, conversation);
  void conversation.leave(patienceMs).then((gone) => {
    if (gone && departing.get(name) === conversation) departing.delete(name);
  });
}

function showTable(): void {
  if (!current) return;
  const wasHidden = table.hidden;
  door.hidden = true;
  table.hidden = false;
  document.body.dataset['at'] = 'table';
  element('room-title').textContent = current.room.name;
  if (wasHidden) showPeople(matchMedia('(min-width: 900px)').matches);
  draw();
  view.goToEnd();
}

element('leave').addEventListener('click', () => {
  if (!current) return;
  const { name } = current.room;
  savePosition();
  memory.note(name, { here: false });
  history.pushState(null, '', location.pathname + location.search);
  entering++;
  depart(current);
  showDoor({ room: '', name: memory.userName });
  roomField.focus();
});

function hashRoom(): string {
  try {
    return decodeURIComponent(location.hash.slice(1)).trim();
  } catch {
    return '';
  }
}

/** Goes where the address says. `asked`: somebody followed a link here, so who is known there comes straight in. */
function go(asked: boolean): void {
  const room = hashRoom();
  if (current && current.room.name === room) return;
  if (current) depart(current);
  entering++;
  const remembered = memory.room(room);
  const name = remembered?.userName || memory.userName;
  if (room !== '' && name !== '' && (remembered?.here || (asked && remembered))) return void enter(room, name, 'straight');
  showDoor({ room, name });
  (room === '' ? roomField : nameField).focus();
}

window.addEventListener('hashchange', () => go(true));
window.addEventListener('popstate', () => go(true));

// ---- what was seen, and whether anybody looks

let savedAt = -Infinity;
let saved = '';
let saving: ReturnType<typeof setTimeout> | undefined;

function savePosition(atOnce = false): void {
  const position = current?.seenPosition;
  if (!current || position === undefined || saved === `${current.room.name} ${position}`) return;
  const wait = savedAt + saveEveryMs - performance.now();
  if (!atOnce && wait > 0) {
    saving ??= setTimeout(() => {
      saving = undefined;
      savePosition();
    }, wait);
    return;
  }
  savedAt = performance.now();
  saved = `${current.room.name} ${position}`;
  memory.note(current.room.name, { position });
}

document.addEventListener('visibilitychange', () => {
  if (!isLookedAt()) savePosition(true);
  current?.setLooking(isLookedAt());
  if (isLookedAt() && client.state.phase === 'waiting') client.retryNow();
  // No frame comes while nobody looks: the one that was asked for is not waited for.
  drawing = false;
  changed();
});
window.addEventListener('pagehide', () => savePosition(true));
window.addEventListener('pageshow', (event) => {
  if (event.persisted) client.retryNow();
});
window.addEventListener('beforeunload', (event) => {
  const waiting = [current, ...departing.values()].some((each) => each && each.outbound.waiting.length > 0);
  if (waiting) event.preventDefault();
});

// ---- the composer

const say = element<HTMLTextAreaElement>('say');
const hint = element('say-hint');
let tooLongNow = '';

element<HTMLFormElement>('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  sendWhatIsWritten();
});

function sendWhatIsWritten(): void {
  const text = say.value.replace(/\s+$/u, '');
  if (!current || text.trim() === '') return;
  const byBytes = current.tooLongBy(text);
  tooLongNow = byBytes > 0 ? tooLong(byBytes, current.messageBytesMax) : '';
  if (byBytes === 0) {
    current.send(text);
    say.value = '';
    fit();
    void current.toEnd().then(() => {
      draw();
      view.goToEnd();
    });
  }
  drawHint();
  say.focus();
}

function fit(): void {
  say.style.height = 'auto';
  say.style.height = `${say.scrollHeight + 2}px`;
}

function drawHint(): void {
  const waits = line.hidden === false && client.state.phase !== 'refused' && client.state.phase !== 'closed';
  hint.dataset['tone'] = tooLongNow === '' ? '' : 'bad';
  setText(hint, tooLongNow || (waits ? 'Will be sent when the connection is back.' : ''));
}

say.addEventListener('input', () => {
  tooLongNow = '';
  fit();
  drawHint();
});
say.addEventListener('keydown', (event) => {
  if (event.isComposing || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === 'Enter' && !event.shiftKey) {
    event.preventDefault();
    sendWhatIsWritten();
  } else if (event.key === 'ArrowUp' && say.value === '') {
    const failed = document.querySelectorAll<HTMLElement>('#outgoing .retry');
    if (failed.length === 0) return;
    event.preventDefault();
    failed[failed.length - 1]!.focus();
  }
});

// ---- people, and the link that invites

const people = element('people');
const peopleToggle = element('people-toggle');

function showPeople(shown: boolean): void {
  people.hidden = !shown;
  peopleToggle.setAttribute('aria-expanded', String(shown));
}
peopleToggle.addEventListener('click', () => showPeople(people.hidden === true));
element('scroll').addEventListener('click', () => {
  if (!matchMedia('(min-width: 900px)').matches) showPeople(false);
});
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || people.hidden || matchMedia('(min-width: 900px)').matches) return;
  showPeople(false);
  peopleToggle.focus();
});

const copy = element('copy');
copy.addEventListener('click', () => {
  void copyText(location.href).then((done) => {
    tell(done ? 'The link is copied.' : 'The link is in the address bar.');
    copy.textContent = done ? 'Copied' : 'See the address';
    setTimeout(() => (copy.textContent = 'Copy link'), 2000);
  });
});

async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // On plain http there is no clipboard but by the old way.
    const field = make('textarea', 'unseen') as HTMLTextAreaElement;
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand('copy');
    field.remove();
    copy.focus();
    return done;
  }
}

go(false);
