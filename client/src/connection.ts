// Connection does what machine.ts decides: it holds the sockets and the timers, reads frames, keeps the rooms' logs and
// queues moving, and tells the machine what happened. One per client. Ends with the machine's `end`.
import { TertuliaError, errorOfAnswer, rpc, type RpcError } from './errors.js';
import {
  clientPhase,
  initial,
  roomPhase,
  sendingLink,
  step,
  type Effect,
  type Env,
  type MachineEvent,
  type MachineState,
} from './machine.js';
import { Calls } from './calls.js';
import type { RoomLog } from './log.js';
import type { Outbox } from './outbox.js';
import { Socket, type Asked, type Call } from './socket.js';
import type { Message, Sent, Timers, WebSocketConstructor } from './types.js';
import { decode, numberOf, stringOf, subprotocol, type Params } from './wire.js';

export interface ConnectionOptions extends Env {
  url: string;
  WebSocket: WebSocketConstructor;
  timers: Timers;
  now(): number;
  windowMessagesMax: number;
}

/** A room as the connection sees it. Implemented by room.ts. */
export interface RoomDoor {
  readonly log: RoomLog;
  readonly outbox: Outbox;
  /** The params of the next join; `admitted`: it was in before. */
  joinParams(admitted: boolean): Params;
  onJoined(answer: Params): void;
  onMessage(message: Message): void;
  onLive(sequence: number): void;
  onReset(oldest: number, head: string): void;
  onSkipped(after: number, before: number): void;
  onNotice(method: string, params: Params): void;
  onSent(sent: Sent): void;
  onFailed(uuid: string, text: string, error: TertuliaError): void;
  onGivenUp(error: TertuliaError): void;
  onError(error: TertuliaError): void;
  /** The machine moved; `wait` is set while the next join waits. */
  onPhase(phase: ReturnType<typeof roomPhase>, wait: { ms: number; error: TertuliaError | undefined } | undefined): void;
}

export interface ClientDoor {
  /** The user that this client is; undefined until known. */
  userId(): string | undefined;
  onOpened(): void;
  onError(error: TertuliaError): void;
  onState(state: MachineState, retryInMs: number | undefined): void;
  onEnd(state: MachineState): void;
}

const windowBytesMax = 256 << 10;
const bufferedBytesMax = 1 << 20;

export class Connection {
  state: MachineState = initial;
  private readonly rooms = new Map<string, RoomDoor>();
  private readonly sockets = new Map<number, Socket>();
  private readonly shutting = new Set<Socket>();
  private readonly timers = new Map<string, unknown>();
  private readonly waits = new Map<string, { ms: number; error: TertuliaError | undefined }>();
  private readonly events: MachineEvent[] = [];
  private stepping = false;
  private readonly calls: Calls;
  /** While a room is being left: what its leaving waits for. */
  private told: Promise<void>[] | undefined;
  private nextRequest = 1;
  private reopenMs: number | undefined;

  constructor(
    private readonly options: ConnectionOptions,
    private readonly client: ClientDoor,
  ) {
    this.calls = new Calls({
      timers: options.timers,
      random: () => options.random(),
      socketFor: (room) => {
        const link = room === null ? this.anyLink() : sendingLink(this.state, room);
        return link === undefined ? undefined : this.sockets.get(link);
      },
      ask: (socket, method, params, asked) => void this.ask(socket.id, method, params, asked),
    });
  }

  // ---- the machine

  dispatch(event: MachineEvent): void {
    this.events.push(event);
    if (this.stepping) return;
    this.stepping = true;
    try {
      for (let next = this.events.shift(); next; next = this.events.shift()) {
        const [state, effects] = step(this.state, next, this.options);
        this.state = state;
        for (const effect of effects) this.perform(effect);
      }
    } finally {
      this.stepping = false;
    }
    for (const [name, room] of this.rooms) room.onPhase(roomPhase(this.state, name), this.waits.get(name));
    this.client.onState(this.state, clientPhase(this.state) === 'waiting' ? this.reopenMs : undefined);
    this.pump();
  }

  private perform(effect: Effect): void {
    switch (effect.do) {
      case 'open':
        return this.openSocket(effect.link);
      case 'shut':
        return this.shutSocket(effect.link, effect.code, effect.reason);
      case 'timer':
        return this.startTimer(effect.timer, effect.ms);
      case 'cancel':
        return this.cancelTimer(effect.timer);
      case 'join':
        return this.sendJoin(effect.link, effect.room);
      case 'leave':
        return this.sendLeave(effect.link, effect.room);
      case 'giveUp': {
        this.waits.delete(effect.room);
        const error = errorOfAnswer(effect.error);
        this.dropRoom(effect.room, error)?.onGivenUp(error);
        return;
      }
      case 'end':
        return this.ended();
    }
  }

  private startTimer(timer: string, ms: number): void {
    this.cancelTimer(timer);
    if (timer === 'reopen') this.reopenMs = ms;
    if (timer.startsWith('join:')) {
      const room = timer.slice(timer.indexOf(':', 5) + 1);
      this.waits.set(room, { ms, error: this.waits.get(room)?.error });
    }
    const handle = this.options.timers.setTimeout(() => {
      this.timers.delete(timer);
      this.dispatch({ on: 'timer', timer });
    }, ms);
    this.timers.set(timer, handle);
  }

  private cancelTimer(timer: string): void {
    const handle = this.timers.get(timer);
    if (handle === undefined) return;
    this.timers.delete(timer);
    this.options.timers.clearTimeout(handle as never);
  }

  private ended(): void {
    const { state } = this;
    const error =
      state.phase === 'refused'
        ? new TertuliaError('serverRefuses', `the server closed with ${state.closeCode} and asks not to come back`, {
            closeCode: state.closeCode ?? 0,
          })
        : new TertuliaError('closed', 'the client was closed');
    for (const handle of this.timers.values()) this.options.timers.clearTimeout(handle as never);
    this.timers.clear();
    for (const name of [...this.rooms.keys()]) this.dropRoom(name, error)?.onGivenUp(error);
    this.calls.reject(error);
    this.client.onEnd(state);
  }

  // ---- sockets

  private openSocket(link: number): void {
    try {
      const socket: Socket = new Socket(
        link,
        this.options.url,
        this.options.WebSocket,
        this.options.timers,
        () => this.options.now(),
        {
          opened: () => this.onOpened(socket),
          frame: (data) => this.onFrame(socket, data),
          closed: (code) => {
            this.loseSocket(socket);
            this.dispatch({ on: 'closed', link, code });
          },
          silent: () => this.dispatch({ on: 'silent', link }),
        },
      );
      this.sockets.set(link, socket);
    } catch (error) {
      this.client.onError(new TertuliaError('protocol', `the WebSocket could not be made: ${String(error)}`));
      this.dispatch({ on: 'closed', link, code: 1006 });
    }
  }

  private onOpened(socket: Socket): void {
    if (socket.protocol !== subprotocol) {
      this.client.onError(new TertuliaError('protocol', `the server does not speak ${subprotocol}`));
      this.shutSocket(socket.id, 4000, `no ${subprotocol}`);
      this.dispatch({ on: 'closed', link: socket.id, code: 4000 });
      return;
    }
    this.client.onOpened();
    this.dispatch({ on: 'opened', link: socket.id });
  }

  private shutSocket(link: number, code: number, reason: string): void {
    const socket = this.sockets.get(link);
    if (!socket) return;
    this.shutting.add(socket);
    void socket.down().then(() => this.shutting.delete(socket));
    socket.shut(code, reason);
    this.loseSocket(socket);
  }

  // What was asked there and not answered is asked again elsewhere.
  private loseSocket(socket: Socket): void {
    this.sockets.delete(socket.id);
    for (const room of this.rooms.values()) room.outbox.forget(socket.id);
    for (const asked of socket.asked.values()) {
      if (asked.for === 'call') this.calls.lost(asked.call);
      if (asked.for === 'leave') asked.done();
    }
    socket.asked.clear();
  }

  /** Resolves when every connection is down. */
  async down(): Promise<void> {
    await Promise.all([...this.shutting].map((socket) => socket.down()));
  }

  get sessionId(): string | undefined {
    let newest: string | undefined;
    for (const link of this.state.links) newest = this.sockets.get(link.id)?.sessionId ?? newest;
    return newest;
  }

  // ---- frames

  private onFrame(socket: Socket, data: unknown): void {
    const frame = decode(data);
    switch (frame.kind) {
      case 'message':
        return this.onMessage(socket, frame.message);
      case 'answer':
        return this.onAnswer(socket, frame.id, frame.result);
      case 'failure':
        return this.onFailure(socket, frame.id, frame.error);
      case 'notice':
        return this.onNotice(socket, frame.method, frame.params);
      case 'nonsense':
        return this.client.onError(new TertuliaError('protocol', `the server sent ${frame.why}`));
    }
  }

  // Is this room's log being delivered on this link? Before the answer of a (repeated) join, and on a link whose past is
  // gone, what comes does not count.
  private delivers(socket: Socket, room: string): boolean {
    const on = this.state.links.find((link) => link.id === socket.id)?.rooms.get(room);
    return (on === 'catchingUp' || on === 'live') && !socket.muted.has(room);
  }

  private onMessage(socket: Socket, message: Message): void {
    const name = message.roomName;
    const room = this.rooms.get(name);
    if (!room || !this.delivers(socket, name)) return;
    const verdict = room.log.offer(message);
    if (verdict === 'repeat') return;
    if (verdict === 'next') {
      message.own = message.userId === this.client.userId();
      // One's own message in the log is as good as the answer, which may have been lost with a connection.
      if (message.own) this.acked(room, message.uuid, message.position, message.sequence, undefined);
      return room.onMessage(message);
    }
    this.astray(socket, name, room, verdict, `message ${message.position}`);
  }

  private astray(socket: Socket, name: string, room: RoomDoor, verdict: 'gap' | 'mismatch', what: string): void {
    if (verdict === 'mismatch') {
      room.onError(new TertuliaError('chain', `${what} does not continue ${room.log.held?.position ?? 'the room'}`));
    }
    this.dispatch({ on: 'astray', link: socket.id, room: name });
  }

  private onNotice(socket: Socket, method: string, params: Params): void {
    if (method === 'heartbeat') return;
    if (method === 'reconnect') {
      return this.dispatch({ on: 'reconnect', link: socket.id, afterMs: Math.max(0, numberOf(params, 'afterMs')) });
    }
    const name = stringOf(params, 'roomName');
    const room = this.rooms.get(name);
    if (!room) return;
    if (method === 'reset') return this.onReset(socket, name, room, params);
    if (!this.delivers(socket, name)) return;
    if (method === 'live') return this.onLive(socket, name, room);
    if (method === 'skipped') return this.onSkipped(room, numberOf(params, 'after'), numberOf(params, 'before'));
    // During a hand-over both servers tell of the same people: the newest link's word is enough.
    if (sendingLink(this.state, name) === socket.id) room.onNotice(method, params);
  }

  private onReset(socket: Socket, name: string, room: RoomDoor, params: Params): void {
    const links = this.state.links.map((link) => link.id);
    if (socket.muted.has(name) || !links.includes(socket.id)) return;
    // The newest link on which the room is joined speaks for the present; older ones for a past that is gone.
    const newest = sendingLink(this.state, name);
    if (newest !== undefined && newest > socket.id) {
      socket.muted.add(name);
      return;
    }
    for (const id of links) if (id < socket.id) this.sockets.get(id)?.muted.add(name);
    socket.heads.set(name, stringOf(params, 'head'));
    // In the middle of a session: what was sent into the past that is gone is sent again.
    const on = this.state.links.find((link) => link.id === socket.id)?.rooms.get(name);
    if (on === 'live') room.outbox.forget(socket.id);
    room.log.drop();
    room.onReset(numberOf(params, 'oldest', 1), stringOf(params, 'head'));
    this.pump();
  }

  private onSkipped(room: RoomDoor, after: number, before: number): void {
    const { held } = room.log;
    if (held && held.to >= before - 1) return; // another link has brought it meanwhile
    room.log.drop();
    room.onSkipped(Math.max(after, held?.to ?? 0), before);
  }

  private onLive(socket: Socket, name: string, room: RoomDoor): void {
    const head = socket.heads.get(name);
    const verdict = head === undefined ? 'next' : room.log.settle(head);
    if (verdict !== 'next') return this.astray(socket, name, room, verdict, `the head ${head}`);
    const before = roomPhase(this.state, name);
    this.dispatch({ on: 'live', link: socket.id, room: name });
    if (before !== 'live') room.onLive(room.log.held?.to ?? 0);
  }

  // ---- requests and answers

  private ask(link: number, method: string, params: Params, asked: Asked): number {
    const id = this.nextRequest++;
    this.sockets.get(link)?.ask(id, method, params, asked);
    return id;
  }

  private sendJoin(link: number, name: string): void {
    const room = this.rooms.get(name);
    const socket = this.sockets.get(link);
    if (!room || !socket) return;
    const params = room.joinParams(this.state.rooms.get(name)?.admitted ?? false);
    socket.joinRequest.set(name, this.ask(link, 'joinRoom', params, { for: 'join', room: name }));
  }

  private sendLeave(link: number, name: string): void {
    const socket = this.sockets.get(link);
    if (!socket) return;
    socket.joinRequest.delete(name);
    const told = new Promise<void>((done) => this.ask(link, 'leaveRoom', { roomName: name }, { for: 'leave', done }));
    this.told?.push(told);
  }

  private onAnswer(socket: Socket, id: number, result: Params): void {
    const asked = socket.answered(id);
    switch (asked?.for) {
      case 'join':
        if (socket.joinRequest.get(asked.room) === id) this.onJoined(socket, asked.room, result);
        return;
      case 'send': {
        const room = this.rooms.get(asked.room);
        const position = stringOf(result, '_id');
        if (room) this.acked(room, asked.uuid, position, numberOf(result, 'sequence'), result['repeated'] === true);
        return this.pump();
      }
      case 'call':
        this.calls.answered(asked.call, result);
        return this.pump();
      case 'leave':
        return asked.done();
    }
  }

  private onJoined(socket: Socket, name: string, result: Params): void {
    const room = this.rooms.get(name);
    if (!room) return;
    socket.heads.set(name, stringOf(result, 'head'));
    socket.sessionId = stringOf(result, 'sessionId') || socket.sessionId;
    socket.setHeartbeat(numberOf(result, 'heartbeatMs'));
    this.waits.delete(name);
    room.onJoined(result);
    this.dispatch({ on: 'joined', link: socket.id, room: name });
  }

  private onFailure(socket: Socket, id: number | null, error: RpcError): void {
    const asked = id === null ? undefined : socket.answered(id);
    switch (asked?.for) {
      case 'join':
        if (socket.joinRequest.get(asked.room) !== id) return;
        this.waits.set(asked.room, { ms: 0, error: errorOfAnswer(error) });
        return this.dispatch({ on: 'joinFailed', link: socket.id, room: asked.room, error });
      case 'send':
        this.sendFailed(socket, id!, asked.room, asked.uuid, error);
        return this.pump();
      case 'call':
        this.callFailed(socket, asked.call, error);
        return this.pump();
      case 'leave':
        return asked.done();
      case 'nothing':
        return;
      default:
        this.client.onError(errorOfAnswer(error));
    }
  }

  private sendFailed(socket: Socket, id: number, name: string, uuid: string, error: RpcError): void {
    const room = this.rooms.get(name);
    if (!room) return;
    // Not what the message is, but where it was said: the room is joined again, and all is sent again in order.
    if (error.code === rpc.notMember || error.retryable) {
      if (!room.outbox.returned(uuid, id)) return;
      return this.dispatch({ on: 'notMember', link: socket.id, room: name });
    }
    const refusal = room.outbox.refused(uuid, id);
    if (refusal.kind !== 'refused') return;
    const { outcome, entry } = refusal;
    room.onFailed(uuid, entry.text, errorOfAnswer(error, { outcome, uuid }));
  }

  private acked(room: RoomDoor, uuid: string, position: string, sequence: number, repeated: boolean | undefined): void {
    const entry = room.outbox.acked(uuid);
    if (entry) room.onSent({ uuid, position, sequence, repeated: repeated ?? entry.written > 1 });
  }

  // ---- rooms

  addRoom(name: string, room: RoomDoor): void {
    this.rooms.set(name, room);
    this.dispatch({ on: 'want', room: name });
  }

  /** Leaves. Resolves when the server has taken note, or there is no connection to tell it on. */
  removeRoom(name: string, error: TertuliaError): Promise<void> {
    this.dropRoom(name, error);
    const told: Promise<void>[] = (this.told = []);
    this.dispatch({ on: 'unwant', room: name });
    this.told = undefined;
    return Promise.all(told).then(() => undefined);
  }

  private dropRoom(name: string, error: TertuliaError): RoomDoor | undefined {
    const room = this.rooms.get(name);
    this.rooms.delete(name);
    this.waits.delete(name);
    this.calls.reject(error, name);
    return room;
  }

  // ---- calls

  call(room: string | null, method: string, params: Params): Promise<Params> {
    const { phase } = this.state;
    if (phase === 'closed' || phase === 'refused') {
      return Promise.reject(new TertuliaError('closed', 'the client is closed'));
    }
    return this.calls.call(room, method, params);
  }

  /** Asks once, now, and does not care for the answer. */
  mention(name: string, method: string, params: Params): void {
    const link = sendingLink(this.state, name);
    if (link !== undefined) this.ask(link, method, params, { for: 'nothing' });
  }

  private callFailed(socket: Socket, call: Call, error: RpcError): void {
    const returned = error.code === rpc.notMember && call.room !== null && this.rooms.has(call.room);
    this.calls.failed(call, error, returned);
    if (returned) this.dispatch({ on: 'notMember', link: socket.id, room: call.room! });
  }

  // ---- what goes out

  /** Sends what may be sent now: of each room in turn, as long as the window of its link is open. */
  pump(): void {
    if (this.stepping) return; // the dispatch under way pumps at its end
    for (let moved = true; moved; ) {
      moved = false;
      for (const [name, room] of this.rooms) {
        if (room.outbox.count === 0) continue;
        const link = sendingLink(this.state, name);
        const socket = link === undefined ? undefined : this.sockets.get(link);
        if (!socket || !this.windowOpen(socket)) continue;
        const entry = room.outbox.next(socket.id);
        if (!entry) continue;
        const { uuid, text, date, bytes } = entry;
        const asked: Asked = { for: 'send', room: name, uuid, bytes };
        const id = this.ask(socket.id, 'textMessage', { roomName: name, text, uuid, date }, asked);
        room.outbox.sent(entry, id, socket.id);
        moved = true;
      }
    }
    this.calls.pump();
  }

  private windowOpen(socket: Socket): boolean {
    if (socket.unansweredSends === 0) return true;
    return (
      socket.unansweredSends < this.options.windowMessagesMax &&
      socket.unansweredBytes < windowBytesMax &&
      socket.bufferedBytes < bufferedBytesMax
    );
  }

  private anyLink(): number | undefined {
    for (let i = this.state.links.length - 1; i >= 0; i--) {
      const link = this.state.links[i]!;
      for (const on of link.rooms.values()) if (on === 'live' || on === 'catchingUp') return link.id;
    }
    return undefined;
  }
}
