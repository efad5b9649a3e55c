// People is who is in the room, as far as the page shows it. Pure. The list is read a page at a time and kept by what is
// told of comings and goings; beyond `most` only the number is kept.
import type { Member } from 'tertulia-client';

export const peopleMost = 200;

export class People {
  private readonly names = new Map<string, string>();
  /** All of them, also those without a name here. */
  total = 0;

  constructor(private readonly most = peopleMost) {}

  /** Sorted by name. */
  get shown(): { userId: string; userName: string }[] {
    return [...this.names]
      .map(([userId, userName]) => ({ userId, userName }))
      .sort((a, b) => a.userName.localeCompare(b.userName) || (a.userId < b.userId ? -1 : 1));
  }

  get hidden(): number {
    return Math.max(0, this.total - this.names.size);
  }

  read(members: readonly Member[], total: number): void {
    this.names.clear();
    for (const { userId, userName } of members.slice(0, this.most)) this.names.set(userId, userName);
    this.total = Math.max(total, this.names.size);
  }

  has(userId: string): boolean {
    return this.names.has(userId);
  }

  joined(userId: string, userName: string): void {
    const known = this.names.has(userId);
    if (!known) this.total++;
    if (known || this.names.size < this.most) this.names.set(userId, userName);
  }

  left(userId: string): void {
    this.names.delete(userId);
    this.total = Math.max(this.names.size, this.total - 1);
  }

  get userIds(): string[] {
    return [...this.names.keys()];
  }
}
