// Heard tells who listens instead of looking what others say: politely, a few at a time, and only how many when there are
// many. Keeps no more than the last few.
import type { Message } from 'tertulia-client';
import { newMessages } from './words.js';

const everyMs = 1000;
const wordForWordMost = 3;
const lettersMost = 300;

export class Heard {
  private waiting: Message[] = [];
  private count = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly place: HTMLElement) {}

  say(message: Message): void {
    this.count++;
    if (this.waiting.length < wordForWordMost) this.waiting.push(message);
    this.timer ??= setTimeout(() => this.speak(), everyMs);
  }

  private speak(): void {
    this.timer = undefined;
    const said =
      this.count > wordForWordMost
        ? [newMessages(this.count)]
        : this.waiting.map(({ userName, text }) => `${userName}: ${(text ?? '').slice(0, lettersMost)}`);
    this.place.replaceChildren(
      ...said.map((text) => {
        const line = document.createElement('p');
        line.textContent = text;
        return line;
      }),
    );
    this.waiting = [];
    this.count = 0;
  }
}
