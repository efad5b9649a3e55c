// What of a text is a link. Pure. Only http and https ever are: everything else stays text.

export interface Piece {
  text: string;
  /** Set where the piece is a link. */
  href?: string;
}

// Up to white space, quotes and angle brackets; and no control, zero-width or direction marks, which could make an address
// look like another one.
const candidate = /https?:\/\/[^\s<>"'`\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+/giu;
const closers: Record<string, string> = { ')': '(', ']': '[', '}': '{' };

/** The pieces, together exactly the text. In linear time. */
export function splitLinks(text: string): Piece[] {
  const pieces: Piece[] = [];
  let done = 0;
  for (const match of text.matchAll(candidate)) {
    const start = match.index ?? 0;
    // "nohttp://x" is a word, not a link.
    if (start > 0 && /[\p{L}\p{N}_]/u.test(text[start - 1]!)) continue;
    const shown = withoutTail(match[0]);
    const href = addressOf(shown);
    if (href === undefined) continue;
    if (start > done) pieces.push({ text: text.slice(done, start) });
    pieces.push({ text: shown, href });
    done = start + shown.length;
  }
  if (done < text.length) pieces.push({ text: text.slice(done) });
  return pieces;
}

// The full stop that ends the sentence is not part of the address, nor is the bracket around it.
function withoutTail(raw: string): string {
  const open: Record<string, number> = {};
  for (const c of raw) open[c] = (open[c] ?? 0) + 1;
  let end = raw.length;
  for (; end > 0; end--) {
    const last = raw[end - 1]!;
    const opener = closers[last];
    if (opener !== undefined) {
      if ((open[last] ?? 0) <= (open[opener] ?? 0)) break;
      open[last] = open[last]! - 1;
    } else if (!/[.,;:!?*_~…]/.test(last)) break;
  }
  return raw.slice(0, end);
}

function addressOf(shown: string): string | undefined {
  try {
    const url = new URL(shown);
    const web = url.protocol === 'http:' || url.protocol === 'https:';
    // "https://bank.example@elsewhere.example" is made to be misread.
    return web && url.hostname !== '' && url.username === '' && url.password === '' ? url.href : undefined;
  } catch {
    return undefined;
  }
}

/** Nothing but a few emoji? They are shown larger. */
export function onlyEmoji(text: string): boolean {
  if (text.length > 24 || !/\p{Extended_Pictographic}|\p{Regional_Indicator}/u.test(text)) return false;
  return /^(?:\p{Extended_Pictographic}|\p{Regional_Indicator}|\p{Emoji_Modifier}|[\u200d\ufe0f\u{e0020}-\u{e007f}]|\s)+$/u.test(text);
}
