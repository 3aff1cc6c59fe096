// What can be read out of a message: for the mailbox page and for GraphiQL's placeholders alike.

export function linkToken({ text, html }) {
  return /#token=([\w.~%-]+)/.exec(`${text} ${html ?? ''}`)?.[1] ?? null;
}

// A text holds the digits in one piece; a call reads them one by one.
export function securityCode({ text }) {
  const together = /#(\d{6})\b/.exec(text) ?? /(?<!\d)(\d{6})(?!\d)/.exec(text);
  return together?.[1] ?? /(?:\d\W{1,8}){5}\d/.exec(text)?.[0].replace(/\D/g, '') ?? null;
}

export function practiceAccessCode({ text }) {
  const alone = text.split('\n').map((line) => line.replace(/[\s-]/g, ''));
  return alone.find((line) => /^[A-Z0-9]{10}$/.test(line)) ?? /\b[A-Z0-9]{5}[- ]?[A-Z0-9]{5}\b/.exec(text)?.[0] ?? null;
}
