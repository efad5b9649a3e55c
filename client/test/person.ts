// A person at a client, with everything that happened to it written down.
import assert from 'node:assert/strict';
import { WebSocket } from 'ws';
import { Client, type ClientOptions, type JoinOptions, type Message, type Room, type TertuliaError } from '../src/index.js';
import type { ClientState, RoomState, Sent, WebSocketConstructor } from '../src/types.js';
import { deadlineDefaultMs, ManualTimers, until, World } from './world.js';

export const key = (letter: string): string => letter.repeat(43);

export class Person {
  readonly timers = new ManualTimers();
  readonly client: Client;
  readonly room: Room;
  readonly messages: Message[] = [];
  /** Everything of the room in the order it fired: `message 3`, `live 3`, `reset`, … */
  readonly story: string[] = [];
  readonly errors: TertuliaError[] = [];
  readonly states: ClientState[] = [];
  readonly roomStates: RoomState[] = [];
  readonly acks: Sent[] = [];
  chance = 0.5;

  constructor(
    readonly world: World,
    url: string,
    options: Partial<ClientOptions> & { name?: string; roomName?: string } = {},
  ) {
    const { name = 'Ana', roomName = 'sala', ...rest } = options;
    this.name = name;
    this.client = new Client({
      url,
      WebSocket: WebSocket as unknown as WebSocketConstructor,
      timers: this.timers,
      now: () => this.timers.nowMs,
      random: () => this.chance,
      ...rest,
    });
    this.room = this.client.room(roomName);
    this.client.on('state', (state) => this.states.push(state));
    this.client.on('error', (error) => this.errors.push(error));
    const { room, story } = this;
    room.on('message', (message) => {
      this.messages.push(message);
      story.push(`message ${message.sequence}`);
    });
    room.on('live', ({ sequence }) => story.push(`live ${sequence}`));
    room.on('reset', () => story.push('reset'));
    room.on('skipped', ({ after, before }) => story.push(`skipped ${after} ${before}`));
    room.on('joined', ({ userName }) => story.push(`joined ${userName}`));
    room.on('left', ({ userName }) => story.push(`left ${userName}`));
    room.on('typing', ({ userName }) => story.push(`typing ${userName}`));
    room.on('read', ({ sequence }) => story.push(`read ${sequence}`));
    room.on('membersChanged', ({ members }) => story.push(`members ${members}`));
    room.on('state', (state) => this.roomStates.push(state));
    room.on('error', (error) => this.errors.push(error));
    room.on('sent', (sent) => this.acks.push(sent));
  }

  readonly name: string;

  /** Connects, joins and is live. */
  async arrives(options: Partial<JoinOptions> = {}): Promise<this> {
    void this.client.connect();
    await this.room.join({ userName: this.name, userKey: key('a'), ...options });
    await this.isLive();
    return this;
  }

  isLive(): Promise<void> {
    return until(`${this.name} is live`, () => this.room.state.phase === 'live');
  }

  phase(phase: RoomState['phase']): Promise<void> {
    return until(`the room is ${phase}`, () => this.room.state.phase === phase);
  }

  async waits(): Promise<void> {
    await until('the client waits', () => this.client.state.phase === 'waiting');
  }

  /** Lets the longest wait before a connection pass, and is live again. */
  async returns(): Promise<void> {
    await this.waits();
    this.timers.advance(10_000);
    await this.isLive();
  }

  /** Was every message of the log delivered, once and in order, and nothing else? */
  sawAll(from = 1): void {
    const log = this.world.log(this.room.name);
    assert.deepEqual(
      this.messages.map((message) => message.position),
      log.frames.slice(from - 1).map((frame) => frame['_id']),
    );
  }

  async sawHead(): Promise<void> {
    const log = this.world.log(this.room.name);
    await until('the head is here', () => this.room.held?.position === log.position(log.head));
  }

  get texts(): (string | undefined)[] {
    return this.messages.map((message) => message.text);
  }
}

/** Runs a test in a world of its own. It has twice the time of a single wait, however many things it waits for. */
export async function inWorld(test: (world: World) => Promise<void>): Promise<void> {
  const world = new World();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('waited in vain for a promise')), 2 * deadlineDefaultMs);
  });
  try {
    await Promise.race([test(world), late]);
  } finally {
    clearTimeout(timer);
    await world.end();
  }
}
