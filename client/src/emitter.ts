// Typed events. A listener that throws hurts neither the library nor the other listeners: its error is rethrown on its own
// turn, where the platform reports it.

export class Emitter<Events> {
  private readonly listeners = new Map<keyof Events, Set<(event: never) => void>>();

  /** Calls `listener` at every such event from now on, in the order of registration. Returns a function that ends it. */
  on<K extends keyof Events>(name: K, listener: (event: Events[K]) => void): () => void {
    let all = this.listeners.get(name);
    if (!all) this.listeners.set(name, (all = new Set()));
    all.add(listener as (event: never) => void);
    return () => this.off(name, listener);
  }

  off<K extends keyof Events>(name: K, listener: (event: Events[K]) => void): void {
    this.listeners.get(name)?.delete(listener as (event: never) => void);
  }

  /** @internal */
  emit<K extends keyof Events>(name: K, event: Events[K]): void {
    const all = this.listeners.get(name);
    if (!all) return;
    for (const listener of [...all]) {
      try {
        listener(event as never);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
