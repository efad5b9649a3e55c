// Everything the page says, in English, and how it writes times and numbers. Pure: the time is an argument.
import type { ClientState, RoomState, TertuliaError } from 'tertulia-client';

export interface Line {
  /** `none`: all is well, and there is no line. */
  tone: 'none' | 'waiting' | 'bad';
  text: string;
  /** What is announced to who cannot see the line: without the countdown. */
  spoken: string;
  retry: boolean;
  rename: boolean;
}

const quiet: Line = { tone: 'none', text: '', spoken: '', retry: false, rename: false };

/** The line at the top. `leftMs`: until the next attempt. `room`: undefined while none is wanted. */
export function lineOf(client: ClientState, room: RoomState | undefined, online: boolean, leftMs: number): Line {
  const seconds = Math.max(1, Math.ceil(leftMs / 1000));
  const say = (text: string, spoken = text, more: Partial<Line> = {}): Line => ({
    ...quiet,
    tone: 'waiting',
    text,
    spoken,
    ...more,
  });
  switch (client.phase) {
    case 'refused':
      return say('This server asks not to come back. Reload the page to try again.', undefined, { tone: 'bad' });
    case 'closed':
      return say('This page is closed. Reload it to come back.', undefined, { tone: 'bad' });
    case 'waiting':
      if (!online) return say('You are offline.', undefined, { retry: true });
      return say(`Reconnecting in ${seconds} s`, 'The connection is lost. Reconnecting.', { retry: true });
    case 'connecting':
      return client.attempt === 0 ? say('Connecting…') : say('Reconnecting…', 'The connection is lost. Reconnecting.');
    case 'idle':
    case 'online':
      break;
  }
  if (!room) return quiet;
  switch (room.phase) {
    case 'offline':
    case 'joining':
      return say('Coming in…', '');
    case 'catchingUp':
      return say('Catching up…', '');
    case 'waiting':
      if (room.error?.code === 'nameTaken') {
        const text = 'Somebody else has your name here now.';
        return say(`${text} Trying again in ${seconds} s`, text, { tone: 'bad', rename: true });
      }
      if (room.error?.code === 'tooMany') return say(`The room is full. Trying again in ${seconds} s`, 'The room is full.');
      return say(`The server is busy. Trying again in ${seconds} s`, 'The server is busy.');
    case 'idle':
    case 'live':
      return quiet;
  }
}

/** Why one could not come in; `field` is what it is about. */
export function whyNotIn(error: TertuliaError, userName: string): { field: 'room' | 'name' | 'none'; text: string } {
  switch (error.code) {
    case 'nameTaken':
      return { field: 'name', text: `Somebody here is called ${userName} already.` };
    case 'invalid':
      return { field: 'name', text: 'The server does not take this name or this room.' };
    case 'tooMany':
      return { field: 'room', text: 'This room is full.' };
    case 'serverRefuses':
    case 'closed':
      return { field: 'none', text: 'This server asks not to come back. Reload the page to try again.' };
    default:
      return { field: 'none', text: `That did not work: ${error.message}.` };
  }
}

/** What is wrong with a name of a room or a person; empty if nothing is. The server looks again. */
export function wrongWithName(name: string, what: 'room' | 'name'): string {
  if (name === '') return what === 'room' ? 'Which room?' : 'What may we call you?';
  if ([...name].length > 64 || new TextEncoder().encode(name).length > 256) return 'That is too long: 64 letters at most.';
  if (/[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u.test(name)) return 'That has characters that cannot be seen.';
  return '';
}

/** A name that is likely free: the next number. */
export function otherName(name: string): string {
  const match = /^(.*?) ?([0-9]{1,4})$/u.exec(name);
  const next = match?.[1] ? `${match[1]} ${Number(match[2]) + 1}` : `${name} 2`;
  return wrongWithName(next, 'name') === '' ? next : 'Guest 2';
}

/** Why a message is not in the log. */
export function whyNotSent(error: TertuliaError): string {
  if (error.outcome === 'unknown') return 'Nobody can tell whether it arrived. To send it again is safe.';
  switch (error.code) {
    case 'tooLarge':
      return 'It is too long.';
    case 'queueFull':
      return 'Too many messages wait already.';
    case 'refused':
      return 'The server did not take it.';
    default:
      return 'It was not sent.';
  }
}

export const tooLong = (byBytes: number, most: number): string =>
  `Too long by ${byBytes} bytes; a message has ${Math.floor(most / 1024)} KiB at most.`;

export const here = (count: number): string => `${count} here`;
export const newMessages = (count: number): string => (count === 1 ? '1 new message' : `${count} new messages`);
export const cameIn = (name: string): string => `${name} came in`;
export const wentOut = (name: string): string => `${name} left`;
export const wentBack = 'The server has gone back to an earlier state. This is what it still has.';

export function titleOf(room: string, unseen: number): string {
  return `${unseen > 0 ? `(${unseen}) ` : ''}${room === '' ? '' : `${room} · `}Tertulia`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const date = new Intl.DateTimeFormat('en', { weekday: 'long', day: 'numeric', month: 'long' });
const dateOfOtherYear = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'long', year: 'numeric' });

export const timeOf = (ms: number): string => clock.format(ms);

export function dayOf(ms: number, now: number): string {
  const day = new Date(ms);
  const today = new Date(now);
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  if (day.toDateString() === today.toDateString()) return 'Today';
  if (day.toDateString() === yesterday.toDateString()) return 'Yesterday';
  return (day.getFullYear() === today.getFullYear() ? date : dateOfOtherYear).format(ms);
}

/** One or two letters for the round beside the messages. */
export function initialsOf(name: string): string {
  const words = name.trim().split(/\s+/u);
  const letters = words.length > 1 ? [words[0]!, words[words.length - 1]!] : [words[0] ?? ''];
  return letters.map((word) => [...word][0] ?? '').join('').toUpperCase();
}

/** One of twelve tones, the same for a user everywhere. */
export function toneOf(userId: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < userId.length; i++) hash = Math.imul(hash ^ userId.charCodeAt(i), 0x01000193) >>> 0;
  return ((hash ^ (hash >>> 16)) >>> 0) % 12;
}
