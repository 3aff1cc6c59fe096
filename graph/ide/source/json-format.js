// A Prettier plugin that formats JSON with what is bundled anyway. It stands in for Prettier's parser and printer of all of
// JavaScript (half a megabyte), which GraphiQL asks for only to format variables and headers.

import { applyEdits, format } from 'jsonc-parser';

const OPTIONS = { tabSize: 2, insertSpaces: true, insertFinalNewline: true };

export const parsers = {
  jsonc: {
    parse: (text) => ({ text: applyEdits(text, format(text, undefined, OPTIONS)) }),
    astFormat: 'formatted',
    locStart: () => 0,
    locEnd: ({ text }) => text.length,
  },
};

export const printers = { formatted: { print: ({ node }) => node.text } };
