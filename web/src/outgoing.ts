// Outgoing is what this page said in a room and does not yet see in the log, in the order said. Pure. The library does the
// sending; here is what the reader is shown of it.

/**
 * - `queued`: it will be sent, or is on its way.
 * - `acked`: it is in the log, at `sequence`, and not shown there yet.
 * - `failed`: it will not come into the log by itself; `why` says it in words.
 */
export interface Outgoing {
  uuid: string;
  text: string;
  date: string;
  state: 'queued' | 'acked' | 'failed';
  sequence?: number;
  why?: string;
}

export class Outbound {
  private readonly entries = new Map<string, Outgoing>();

  get all(): Outgoing[] {
    return [...this.entries.values()];
  }

  get waiting(): Outgoing[] {
    return this.all.filter((each) => each.state === 'queued');
  }

  get(uuid: string): Outgoing | undefined {
    return this.entries.get(uuid);
  }

  add(uuid: string, text: string, date: string): Outgoing {
    const entry: Outgoing = { uuid, text, date, state: 'queued' };
    this.entries.set(uuid, entry);
    return entry;
  }

  remove(uuid: string): void {
    this.entries.delete(uuid);
  }

  /** It was delivered: the log shows it now. */
  delivered(uuid: string): void {
    this.entries.delete(uuid);
  }

  /** The server has it. It goes when the log has come as far as `held`. */
  acked(uuid: string, sequence: number, held: number): void {
    const entry = this.entries.get(uuid);
    if (!entry) return;
    entry.state = 'acked';
    entry.sequence = sequence;
    this.settle(held);
  }

  /** The log has come as far as `held`, or its way there was skipped: what was acked up to there needs no row here. */
  settle(held: number): void {
    for (const entry of this.all) {
      if (entry.state === 'acked' && (entry.sequence ?? 0) <= held) this.entries.delete(entry.uuid);
    }
  }

  failed(uuid: string, why: string): void {
    const entry = this.entries.get(uuid);
    if (!entry) return;
    entry.state = 'failed';
    entry.why = why;
  }

  /** To be sent again, as the same message: it takes its place behind everything said since. */
  again(uuid: string): Outgoing | undefined {
    const entry = this.entries.get(uuid);
    if (!entry) return undefined;
    this.entries.delete(uuid);
    this.entries.set(uuid, entry);
    entry.state = 'queued';
    delete entry.why;
    return entry;
  }
}
