// Calls are questions that outlive connections: asked where the room is joined, asked again when the connection ends before
// the answer, and later when the server is busy. Idempotent ones only. Memory: at most 256 wait, 32 on one connection.
import { backoffMs } from './backoff.js';
import { TertuliaError, errorOfAnswer, type RpcError } from './errors.js';
import type { Asked, Call, Socket } from './socket.js';
import type { Timers } from './types.js';
import type { Params } from './wire.js';

const callsMax = 256;
const callsAtOnceMax = 32;

/** What the calls need of the connection. */
export interface CallsHost {
  readonly timers: Timers;
  random(): number;
  /** Where to ask about this room (null: any) now. */
  socketFor(room: string | null): Socket | undefined;
  ask(socket: Socket, method: string, params: Params, asked: Asked): void;
}

export class Calls {
  /** To be asked as soon as there is where. */
  private ready: Call[] = [];
  /** Asked, and not answered. */
  private readonly asked = new Set<Call>();
  /** Refused for now, until their timer. */
  private readonly later = new Map<Call, unknown>();

  constructor(private readonly host: CallsHost) {}

  call(room: string | null, method: string, params: Params): Promise<Params> {
    return new Promise((resolve, reject) => {
      if (this.ready.length + this.asked.size + this.later.size >= callsMax) {
        return reject(new TertuliaError('tooMany', `${callsMax} calls wait already`));
      }
      this.ready.push({ room, method, params, attempts: 0, resolve, reject });
      this.pump();
    });
  }

  /** Asks what can be asked now. */
  pump(): void {
    for (const call of this.ready.splice(0)) {
      const socket = this.host.socketFor(call.room);
      if (!socket || socket.asked.size - socket.unansweredSends >= callsAtOnceMax) {
        this.ready.push(call);
        continue;
      }
      this.asked.add(call);
      this.host.ask(socket, call.method, call.params, { for: 'call', call });
    }
  }

  answered(call: Call, result: Params): void {
    if (this.asked.delete(call)) call.resolve(result);
  }

  /** The connection has ended without an answer. */
  lost(call: Call): void {
    if (this.asked.delete(call)) this.ready.push(call);
  }

  /** An error answer. `again`: it speaks of the connection, not of the call. */
  failed(call: Call, error: RpcError, again: boolean): void {
    if (!this.asked.delete(call)) return;
    if (!again && !error.retryable) return call.reject(errorOfAnswer(error));
    call.attempts++;
    const ms = (error.retryAfterMs ?? 0) + backoffMs(call.attempts, this.host.random());
    const timer = this.host.timers.setTimeout(() => {
      this.later.delete(call);
      this.ready.push(call);
      this.pump();
    }, ms);
    this.later.set(call, timer);
  }

  /** Gives up the calls about this room, or all. An answer that still comes counts for nothing. */
  reject(error: TertuliaError, room?: string): void {
    const match = (call: Call): boolean => room === undefined || call.room === room;
    const gone = [...this.ready, ...this.asked, ...this.later.keys()].filter(match);
    this.ready = this.ready.filter((call) => !match(call));
    for (const call of gone) {
      this.asked.delete(call);
      const timer = this.later.get(call);
      if (timer !== undefined) this.host.timers.clearTimeout(timer as never);
      this.later.delete(call);
      call.reject(error);
    }
  }
}
