// The state machine of a client: which connections there are, which rooms are joined on which, when to come back, when to
// hand over. state + event + chance → state + effects. Pure: it opens nothing, waits for nothing and draws nothing;
// connection.ts does. States are never changed in place.
//
// A *link* is one WebSocket connection, by number. There is at most one, but for a hand-over: then the new one is opened
// and caught up before the old one is closed (make before break). The newest link is where the client is heading.
import { backoffMs, reconnectMs, returnOf, type Return } from './backoff.js';
import { rpc, type RpcError } from './errors.js';

export type OnLink = 'joining' | 'catchingUp' | 'live' | 'waiting';

export interface Link {
  readonly id: number;
  readonly open: boolean;
  readonly rooms: ReadonlyMap<string, OnLink>;
}

export interface RoomPlan {
  /** Was it joined at least once since it is wanted? Then its user was told, and it is a return, not a first join. */
  readonly admitted: boolean;
  /** Tries since it was live: what the wait before the next one grows by. */
  readonly attempts: number;
}

export interface MachineState {
  readonly phase: 'idle' | 'running' | 'closed' | 'refused';
  /** Oldest first; at most two. */
  readonly links: readonly Link[];
  readonly rooms: ReadonlyMap<string, RoomPlan>;
  /** Connection attempts since the last successful join. */
  readonly attempt: number;
  readonly nextLink: number;
  /** The next connection is due when the timer `reopen` fires. */
  readonly reopening: boolean;
  /** A hand-over is due when the timer `handover` fires. */
  readonly handover: boolean;
  /** The newest link was asked to hand over while a hand-over to it was under way: so many ms after it is done. */
  readonly handoverAgainMs: number | null;
  /** The newest server refuses this client for good; the older link is used as long as it lasts. */
  readonly refusedWith: number | null;
  /** The close code that led here. */
  readonly closeCode: number | null;
}

export type MachineEvent =
  | { on: 'connect' }
  | { on: 'retryNow' }
  | { on: 'close' }
  | { on: 'want'; room: string }
  | { on: 'unwant'; room: string }
  | { on: 'opened'; link: number }
  | { on: 'closed'; link: number; code: number }
  | { on: 'silent'; link: number }
  | { on: 'joined'; link: number; room: string }
  | { on: 'live'; link: number; room: string }
  | { on: 'joinFailed'; link: number; room: string; error: RpcError }
  /** The server says that we are no member there. */
  | { on: 'notMember'; link: number; room: string }
  /** What came does not continue what we hold. */
  | { on: 'astray'; link: number; room: string }
  /** The server asks to be left. */
  | { on: 'reconnect'; link: number; afterMs: number }
  | { on: 'timer'; timer: string };

export type Effect =
  | { do: 'open'; link: number }
  | { do: 'shut'; link: number; code: number; reason: string }
  | { do: 'timer'; timer: string; ms: number }
  | { do: 'cancel'; timer: string }
  | { do: 'join'; link: number; room: string }
  | { do: 'leave'; link: number; room: string }
  /** The server does not let us into this room, for good. */
  | { do: 'giveUp'; room: string; error: RpcError }
  /** The client ends. */
  | { do: 'end' };

export interface Env {
  /** Chance in [0, 1). */
  random(): number;
  openTimeoutMs: number;
}

export const initial: MachineState = {
  phase: 'idle',
  links: [],
  rooms: new Map(),
  attempt: 0,
  nextLink: 1,
  reopening: false,
  handover: false,
  handoverAgainMs: null,
  refusedWith: null,
  closeCode: null,
};

/** The client's own close codes: 1000 is a clean leave; the others say to the server's log why. */
export const closeNormal = 1000;
export const closeSilent = 4000;
export const closeNotOpened = 4001;
export const closeElsewhere = 4002;

export const joinTimer = (link: number, room: string): string => `join:${link}:${room}`;
export const openTimer = (link: number): string => `open:${link}`;

export function step(state: MachineState, event: MachineEvent, env: Env): [MachineState, Effect[]] {
  const turn = new Turn(state, env);
  turn.take(event);
  return [turn.state, turn.effects];
}

// One step under way: each method replaces `state` and appends to `effects`.
class Turn {
  readonly effects: Effect[] = [];

  constructor(
    public state: MachineState,
    private readonly env: Env,
  ) {}

  take(event: MachineEvent): void {
    if (this.state.phase === 'closed' || this.state.phase === 'refused') return;
    switch (event.on) {
      case 'connect':
        if (this.state.phase !== 'idle') return;
        this.set({ phase: 'running' });
        return this.open();
      case 'retryNow':
        if (!this.state.reopening) return;
        this.effects.push({ do: 'cancel', timer: 'reopen' });
        this.set({ reopening: false });
        return this.open();
      case 'close':
        return this.end('closed');
      case 'want':
        return this.want(event.room);
      case 'unwant':
        return this.unwant(event.room);
      case 'timer':
        return this.timer(event.timer);
      default: {
        // What a link that is gone still had to say does not count.
        const link = this.state.links.find((l) => l.id === event.link);
        if (link) this.onLink(link, event);
      }
    }
  }

  private onLink(link: Link, event: Extract<MachineEvent, { link: number }>): void {
    switch (event.on) {
      case 'opened':
        this.effects.push({ do: 'cancel', timer: openTimer(link.id) });
        this.setLink({ ...link, open: true });
        for (const room of this.state.rooms.keys()) this.join(link.id, room);
        return this.handedOver();
      case 'closed':
        return this.gone(link, event.code, returnOf(event.code));
      case 'silent':
        this.effects.push({ do: 'shut', link: link.id, code: closeSilent, reason: 'nothing was heard' });
        return this.gone(link, closeSilent, 'now');
      case 'reconnect':
        return this.askedToLeave(link, event.afterMs);
      default: {
        const on = link.rooms.get(event.room);
        if (on !== undefined) this.onRoom(link, event.room, on, event);
      }
    }
  }

  private onRoom(link: Link, room: string, on: OnLink, event: Extract<MachineEvent, { room: string }>): void {
    switch (event.on) {
      case 'joined':
        if (on !== 'joining') return;
        this.setRoom(room, { admitted: true });
        this.set({ attempt: 0 });
        return this.setOnLink(link.id, room, 'catchingUp');
      case 'live':
        if (on !== 'catchingUp') return;
        this.setRoom(room, { attempts: 0 });
        this.setOnLink(link.id, room, 'live');
        return this.handedOver();
      case 'joinFailed':
        if (on === 'joining') this.joinFailed(link, room, event.error);
        return;
      case 'notMember':
      case 'astray':
        if (on === 'joining' || on === 'waiting') return;
        if (this.plan(room).attempts === 0) {
          this.setRoom(room, { attempts: 1 });
          return this.join(link.id, room);
        }
        return this.joinLater(link.id, room, 0);
    }
  }

  // ---- links

  private open(): void {
    const id = this.state.nextLink;
    this.set({ nextLink: id + 1, links: [...this.state.links, { id, open: false, rooms: new Map() }] });
    this.effects.push({ do: 'open', link: id });
    this.effects.push({ do: 'timer', timer: openTimer(id), ms: this.env.openTimeoutMs });
  }

  private gone(link: Link, code: number, how: Return): void {
    const { links } = this.state;
    const newest = links[links.length - 1]!.id === link.id;
    this.forget(link);
    if (this.state.links.length > 0) {
      // An older link still serves. If the new one failed, it is tried again from there; if the old one ended, the new one
      // goes on alone.
      if (!newest) return;
      if (how === 'never') this.set({ refusedWith: code });
      else this.handOverIn(reconnectMs(how, this.nextAttempt(), this.env.random()));
      return;
    }
    if (this.state.handover) {
      this.effects.push({ do: 'cancel', timer: 'handover' });
      this.set({ handover: false });
    }
    this.set({ handoverAgainMs: null, closeCode: this.state.refusedWith ?? code });
    if (how === 'never' || this.state.refusedWith !== null) return this.end('refused');
    const ms = reconnectMs(how, this.nextAttempt(), this.env.random());
    this.set({ reopening: true });
    this.effects.push({ do: 'timer', timer: 'reopen', ms });
  }

  private nextAttempt(): number {
    const { attempt } = this.state;
    this.set({ attempt: attempt + 1 });
    return attempt;
  }

  private forget(link: Link): void {
    if (!link.open) this.effects.push({ do: 'cancel', timer: openTimer(link.id) });
    for (const [room, on] of link.rooms) {
      if (on === 'waiting') this.effects.push({ do: 'cancel', timer: joinTimer(link.id, room) });
    }
    this.set({ links: this.state.links.filter((l) => l.id !== link.id) });
  }

  private shut(link: Link, code: number, reason: string): void {
    this.forget(link);
    this.effects.push({ do: 'shut', link: link.id, code, reason });
  }

  private end(phase: 'closed' | 'refused'): void {
    for (const link of this.state.links) this.shut(link, closeNormal, 'goodbye');
    if (this.state.reopening) this.effects.push({ do: 'cancel', timer: 'reopen' });
    if (this.state.handover) this.effects.push({ do: 'cancel', timer: 'handover' });
    this.set({ phase, links: [], rooms: new Map(), reopening: false, handover: false });
    this.effects.push({ do: 'end' });
  }

  // ---- hand-over

  private askedToLeave(link: Link, afterMs: number): void {
    const { links } = this.state;
    if (this.state.refusedWith !== null) return; // there is nowhere to go
    if (links[links.length - 1]!.id !== link.id) return; // we are leaving it already
    if (links.length > 1) return this.set({ handoverAgainMs: afterMs });
    if (!this.state.handover) this.handOverIn(afterMs);
  }

  private handOverIn(ms: number): void {
    this.set({ handover: true });
    this.effects.push({ do: 'timer', timer: 'handover', ms });
  }

  // The old link is closed once every room that is live there is live on the new one.
  private handedOver(): void {
    const [old, next] = this.state.links;
    if (!old || !next?.open) return;
    for (const [room, on] of old.rooms) {
      if ((on === 'live' || on === 'catchingUp') && next.rooms.get(room) !== 'live') return;
    }
    this.shut(old, closeNormal, 'moved');
    const again = this.state.handoverAgainMs;
    if (again === null) return;
    this.set({ handoverAgainMs: null });
    this.handOverIn(again);
  }

  // ---- rooms

  private want(room: string): void {
    this.set({ rooms: new Map(this.state.rooms).set(room, { admitted: false, attempts: 0 }) });
    const open = this.state.links.filter((l) => l.open);
    const newest = open[open.length - 1];
    if (newest) this.join(newest.id, room);
  }

  private unwant(room: string): void {
    this.set({ rooms: without(this.state.rooms, room) });
    for (const link of this.state.links) {
      const on = link.rooms.get(room);
      if (on === undefined) continue;
      if (on === 'waiting') this.effects.push({ do: 'cancel', timer: joinTimer(link.id, room) });
      else this.effects.push({ do: 'leave', link: link.id, room });
      this.dropOnLink(link.id, room);
    }
    this.handedOver();
  }

  private join(link: number, room: string): void {
    this.setOnLink(link, room, 'joining');
    this.effects.push({ do: 'join', link, room });
  }

  private joinLater(link: number, room: string, atLeastMs: number): void {
    const attempts = this.plan(room).attempts + 1;
    this.setRoom(room, { attempts });
    this.setOnLink(link, room, 'waiting');
    const ms = atLeastMs + backoffMs(attempts, this.env.random());
    this.effects.push({ do: 'timer', timer: joinTimer(link, room), ms });
  }

  private joinFailed(link: Link, room: string, error: RpcError): void {
    if (error.code === rpc.draining) return this.draining(link, room, error.retryAfterMs ?? 0);
    const comesBack = this.plan(room).admitted && (error.code === rpc.nameTaken || error.code === rpc.tooMany);
    if (error.retryable || comesBack) return this.joinLater(link.id, room, error.retryAfterMs ?? 0);
    this.set({ rooms: without(this.state.rooms, room) });
    for (const each of this.state.links) {
      const on = each.rooms.get(room);
      if (on === undefined) continue;
      if (on === 'waiting') this.effects.push({ do: 'cancel', timer: joinTimer(each.id, room) });
      else if (each.id !== link.id) this.effects.push({ do: 'leave', link: each.id, room });
      this.dropOnLink(each.id, room);
    }
    this.effects.push({ do: 'giveUp', room, error });
    this.handedOver();
  }

  // This node takes nobody new: elsewhere. What is joined here is handed over; with nothing joined there is nothing to keep.
  private draining(link: Link, room: string, afterMs: number): void {
    if ([...link.rooms.values()].some((on) => on === 'live' || on === 'catchingUp')) {
      this.dropOnLink(link.id, room);
      const { links } = this.state;
      if (links[links.length - 1]!.id === link.id) this.askedToLeave(link, afterMs);
      return;
    }
    this.effects.push({ do: 'shut', link: link.id, code: closeElsewhere, reason: 'going elsewhere' });
    this.gone(link, closeElsewhere, 'now');
  }

  // ---- timers

  private timer(timer: string): void {
    const [kind, id] = timer.split(':', 2);
    if (kind === 'reopen' && this.state.reopening) {
      this.set({ reopening: false });
      return this.open();
    }
    if (kind === 'handover' && this.state.handover) {
      this.set({ handover: false });
      if (this.state.links.length === 1) this.open();
      return;
    }
    const link = this.state.links.find((l) => l.id === Number(id));
    if (!link) return;
    if (kind === 'open' && !link.open) {
      this.effects.push({ do: 'shut', link: link.id, code: closeNotOpened, reason: 'did not open in time' });
      return this.gone(link, closeNotOpened, 'now');
    }
    const room = timer.slice(`join:${link.id}:`.length);
    if (kind === 'join' && link.rooms.get(room) === 'waiting') this.join(link.id, room);
  }

  // ---- state

  private set(change: Partial<MachineState>): void {
    this.state = { ...this.state, ...change };
  }

  private setLink(link: Link): void {
    this.set({ links: this.state.links.map((l) => (l.id === link.id ? link : l)) });
  }

  private setOnLink(id: number, room: string, on: OnLink): void {
    const link = this.state.links.find((l) => l.id === id);
    if (link) this.setLink({ ...link, rooms: new Map(link.rooms).set(room, on) });
  }

  private dropOnLink(id: number, room: string): void {
    const link = this.state.links.find((l) => l.id === id);
    if (link) this.setLink({ ...link, rooms: without(link.rooms, room) });
  }

  private plan(room: string): RoomPlan {
    return this.state.rooms.get(room) ?? { admitted: false, attempts: 0 };
  }

  private setRoom(room: string, change: Partial<RoomPlan>): void {
    this.set({ rooms: new Map(this.state.rooms).set(room, { ...this.plan(room), ...change }) });
  }
}

function without<V>(map: ReadonlyMap<string, V>, key: string): ReadonlyMap<string, V> {
  const copy = new Map(map);
  copy.delete(key);
  return copy;
}

// ---- what a state means

/** The link on which a room's messages are sent: the newest on which it is joined. */
export function sendingLink(state: MachineState, room: string): number | undefined {
  for (let i = state.links.length - 1; i >= 0; i--) {
    const on = state.links[i]!.rooms.get(room);
    if (on === 'live' || on === 'catchingUp') return state.links[i]!.id;
  }
  return undefined;
}

const order: readonly OnLink[] = ['waiting', 'joining', 'catchingUp', 'live'];

/** A room's phase: the best that any link offers. */
export function roomPhase(state: MachineState, room: string): 'idle' | 'offline' | OnLink {
  if (!state.rooms.has(room)) return 'idle';
  let best: OnLink | undefined;
  for (const link of state.links) {
    const on = link.rooms.get(room);
    if (on !== undefined && (best === undefined || order.indexOf(on) > order.indexOf(best))) best = on;
  }
  return best ?? 'offline';
}

export function clientPhase(state: MachineState): 'idle' | 'connecting' | 'online' | 'waiting' | 'closed' | 'refused' {
  if (state.phase !== 'running') return state.phase;
  if (state.links.some((l) => l.open)) return 'online';
  return state.links.length > 0 ? 'connecting' : 'waiting';
}
