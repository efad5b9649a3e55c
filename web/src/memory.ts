// Memory is what this browser remembers of this server: the user key (whoever holds it is this user), the name used last,
// and per room name and last position seen. In localStorage, which belongs to one origin, that is to one server; where that
// is forbidden or full, for as long as the page lives.
import { parsePosition } from 'tertulia-client';

export interface Shelf {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

export interface RoomMemory {
  userName: string;
  /** The last position seen, to begin behind it next time. */
  position: string | null;
  /** In it when last heard of: a reload goes straight back. */
  here: boolean;
}

const roomsMost = 50;

export class Memory {
  private readonly own = new Map<string, string>();

  constructor(private readonly shelf: Shelf | null) {}

  get userKey(): string | undefined {
    const key = this.get('tertulia.key');
    return key !== null && /^[A-Za-z0-9_-]{43}$/.test(key) ? key : undefined;
  }

  set userKey(key: string) {
    if (key !== this.get('tertulia.key')) this.set('tertulia.key', key);
  }

  get userName(): string {
    return this.get('tertulia.name') ?? '';
  }

  set userName(name: string) {
    this.set('tertulia.name', name);
  }

  room(name: string): RoomMemory | undefined {
    return this.rooms().get(name);
  }

  /** The newest first. */
  get roomNames(): string[] {
    return [...this.rooms().keys()].reverse();
  }

  /** Changes what is remembered of a room, which thereby is the newest. Read and written whole: other tabs write too. */
  note(name: string, change: Partial<RoomMemory>): void {
    const rooms = this.rooms();
    const memory = { userName: '', position: null, here: false, ...rooms.get(name), ...change };
    rooms.delete(name);
    rooms.set(name, memory);
    const kept = [...rooms].slice(-roomsMost);
    this.set('tertulia.rooms', JSON.stringify(kept));
  }

  private rooms(): Map<string, RoomMemory> {
    const rooms = new Map<string, RoomMemory>();
    try {
      const kept: unknown = JSON.parse(this.get('tertulia.rooms') ?? '[]');
      for (const [name, memory] of kept as [unknown, Partial<RoomMemory>][]) {
        if (typeof name !== 'string' || typeof memory.userName !== 'string') continue;
        const position = typeof memory.position === 'string' && parsePosition(memory.position) ? memory.position : null;
        rooms.set(name, { userName: memory.userName, position, here: memory.here === true });
      }
    } catch {
      // Somebody else's writing: begin anew.
    }
    return rooms;
  }

  private get(key: string): string | null {
    try {
      return this.own.get(key) ?? this.shelf?.getItem(key) ?? null;
    } catch {
      return null;
    }
  }

  private set(key: string, value: string): void {
    try {
      if (!this.shelf) throw new Error('no shelf');
      this.shelf.setItem(key, value);
      this.own.delete(key);
    } catch {
      this.own.set(key, value);
    }
  }
}

/** The browser's, if the page may use it. */
export function browserShelf(): Shelf | null {
  try {
    return globalThis.localStorage;
  } catch {
    return null;
  }
}
