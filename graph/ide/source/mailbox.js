// Looks into the development mailbox for what a person would read there.

const PATIENCE_MS = 12_000; // the worker delivers within a second or two; longer, and something is not running
const PAUSE_MS = 300;

// The mailbox's newest id, so that what a request sends out can be told from what was there before it.
export async function newestId() {
  const [newest] = await read('');
  return newest?.id ?? '';
}

// What `extract` finds in the newest message of a kind to somebody that came after a given id. Waits for one when `expected`.
export async function find({ kind, to, after = '', expected, extract }) {
  const until = Date.now() + (expected ? PATIENCE_MS : 0);
  for (;;) {
    for (const message of await read(after, to)) {
      const found = message.kind === kind ? extract(message) : null;
      if (found) return found;
    }
    if (Date.now() >= until) return null;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

async function read(after, to) {
  const query = new URLSearchParams({ after, ...(to && { to }) });
  const response = await fetch(`/mailbox.json?${query}`);
  return response.ok ? (await response.json()).messages : [];
}
