// What a terminal chat keeps between runs, under $XDG_STATE_HOME/tertulia: one secret key per server and name, and the last
// position per room. Files are 0600 and are put in place whole, so several chats at once hurt nothing.
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const fileName = (text) => createHash('sha256').update(text).digest('hex').slice(0, 32);

export class Memory {
  #folder;
  #server;
  #name;

  /** Throws if the folder cannot be made. */
  constructor(server, name, environment = process.env) {
    // By the XDG rules a relative path counts as none.
    const state = environment.XDG_STATE_HOME?.startsWith('/')
      ? environment.XDG_STATE_HOME
      : join(homedir(), '.local', 'state');
    this.#server = server;
    this.#name = name;
    this.#folder = join(state, 'tertulia', fileName(`${server}\n${name}`));
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
  }

  /** The key of this name on this server, made at the first time. Of two chats that make it at once, both get the same. */
  userKey() {
    const path = join(this.#folder, 'key.json');
    const known = read(path);
    if (known === undefined) {
      const made = { server: this.#server, name: this.#name, userKey: randomBytes(32).toString('base64url') };
      const temporary = write(path, made);
      try {
        linkSync(temporary, path); // fails where another was first, and never replaces
      } catch (error) {
        if (error.code !== 'EEXIST') throw error;
      } finally {
        rmSync(temporary, { force: true });
      }
    }
    const { userKey } = read(path) ?? {};
    if (!/^[A-Za-z0-9_-]{43}$/.test(userKey ?? '')) {
      throw new Error(`${path} holds no key any more. Whoever holds the key is ${this.#name}: restore it, or remove it to be somebody new.`);
    }
    return userKey;
  }

  position(room) {
    return read(this.#positionPath(room))?.position;
  }

  keepPosition(room, position) {
    const path = this.#positionPath(room);
    const temporary = write(path, { room, position });
    renameSync(temporary, path);
  }

  #positionPath(room) {
    return join(this.#folder, `room-${fileName(room)}.json`);
  }
}

/** Undefined if there is no such file; an empty object if there is one that cannot be understood. */
function read(path) {
  let text;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

let count = 0;

// A whole file beside its place, on the disk before it takes it.
function write(path, value) {
  const temporary = `${path}.${process.pid}.${count++}.tmp`;
  const file = openSync(temporary, 'w', 0o600);
  try {
    writeSync(file, `${JSON.stringify(value)}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  return temporary;
}
