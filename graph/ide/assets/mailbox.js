// Shows what has arrived and looks for more every second.

import { practiceAccessCode, securityCode } from './messages.js';

const PAUSE_MS = 1000;
// Two processes write here: a message may turn up a moment after one with a later id. Looking back that far finds it.
const LOOK_BACK_MS = 10_000;
const ICONS = {
  EMAIL: 'M3 6h18v12H3z M3 6l9 7 9-7',
  SMS: 'M4 5h16v11H11l-5 4v-4H4z',
  VOICE: 'M6 3l4 1 1 5-3 2a12 12 0 0 0 5 5l2-3 5 1 1 4c-1 2-3 3-5 3C9 20 4 14 3 8c0-2 1-4 3-5z',
};
const WORDS = { EMAIL: 'E-mail', SMS: 'Text message', VOICE: 'Phone call' };

const list = document.getElementById('messages');
const state = document.getElementById('state');
const chosen = document.getElementById('to');
const shown = new Map();
let newest = '';

const atSight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    target.srcdoc = target.html;
    atSight.unobserve(target);
  }
}, { rootMargin: '600px' });

chosen.addEventListener('change', () => {
  const to = chosen.value;
  history.replaceState(null, '', to ? `?${new URLSearchParams({ to })}` : location.pathname);
  filter();
});
start();

function start() {
  const to = new URLSearchParams(location.search).get('to');
  if (to) {
    offer(to);
    chosen.value = to.toLowerCase();
  }
  look();
}

async function look() {
  try {
    const response = await fetch(`/mailbox.json?${new URLSearchParams({ after: lookedBack(newest) })}`);
    if (!response.ok) throw new Error(response.statusText);
    const { messages } = await response.json();
    add(messages.filter(({ id }) => !shown.has(id)));
    state.classList.remove('lost');
  } catch {
    state.classList.add('lost');
    state.textContent = 'The server does not answer; trying again.';
  }
  setTimeout(look, PAUSE_MS);
}

// Ids begin with 48 bits of milliseconds.
function lookedBack(id) {
  if (!id) return '';
  return Math.max(0, parseInt(id.slice(0, 12), 16) - LOOK_BACK_MS).toString(16).padStart(12, '0');
}

function add(messages) {
  const isFirst = shown.size === 0;
  keepingPlace(() => {
    for (const message of messages.toReversed()) {
      const item = document.createElement('li');
      item.dataset.to = message.to.toLowerCase();
      item.dataset.id = message.id;
      item.append(card(message, !isFirst));
      shown.set(message.id, item);
      const below = [...list.children].find((other) => other.dataset.id < message.id);
      list.insertBefore(item, below ?? null);
      newest = message.id > newest ? message.id : newest;
      offer(message.to);
    }
    filter();
  });
}

// Browsers hold the place by themselves where they know overflow-anchor; Safari is only now learning it.
function keepingPlace(change) {
  const anchor = [...list.children].find((item) => item.getBoundingClientRect().bottom > 0);
  const before = anchor?.getBoundingClientRect().top;
  change();
  if (anchor && scrollY > 0 && !CSS.supports('overflow-anchor', 'auto')) scrollBy(0, anchor.getBoundingClientRect().top - before);
}

function offer(to) {
  const value = to.toLowerCase();
  if (![...chosen.options].some((option) => option.value === value)) chosen.add(new Option(to, value));
}

function filter() {
  let count = 0;
  for (const item of shown.values()) {
    item.hidden = chosen.value !== '' && item.dataset.to !== chosen.value;
    count += item.hidden ? 0 : 1;
  }
  const words = count === 1 ? '1 message' : `${count} messages`;
  if (state.textContent !== words) state.textContent = words;
  document.getElementById('empty').hidden = count > 0;
}

function card(message, isNew) {
  const article = element('article', { className: isNew ? 'new' : '' });
  article.append(envelope(message), ...BODIES[message.channel](message));
  return article;
}

function envelope({ channel, from, to, subject, sentAt, id }) {
  const sent = new Date(sentAt);
  const title = element('h2', { id: `subject-${id}`, textContent: subject || WORDS[channel] });
  const time = element('time', { dateTime: sentAt, title: sent.toLocaleString(), textContent: sent.toLocaleTimeString() });
  const top = element('div', { className: 'envelope' });
  const way = subject ? `${WORDS[channel]} to ${to}` : `to ${to}`;
  top.append(icon(channel), title, time, element('div', { className: 'to', textContent: from ? `${way} from ${from}` : way }));
  return top;
}

const BODIES = {
  EMAIL(message) {
    const body = message.html ? page(message) : linked(element('p', { className: 'plain' }), message.text);
    const code = message.kind === 'practice_access_code' ? practiceAccessCode(message) : null;
    return code ? [codes(code), body] : [body];
  },
  SMS: (message) => [withCode(element('p', { className: 'bubble' }), message.text, securityCode(message))],
  VOICE(message) {
    const transcript = element('p', { className: 'transcript', textContent: message.text });
    const code = securityCode(message);
    return code ? [transcript, codes(code)] : [transcript];
  },
};

// The e-mail's own page. It may not run scripts; with its origin it can be measured, and links out of it work as in a mail program.
function page({ html, subject }) {
  const content = new DOMParser().parseFromString(html, 'text/html');
  content.head.prepend(Object.assign(content.createElement('base'), { target: '_blank' }));
  const frame = element('iframe', { title: `E-mail: ${subject}`, html: `<!doctype html>${content.documentElement.outerHTML}` });
  frame.sandbox.add('allow-same-origin', 'allow-popups', 'allow-popups-to-escape-sandbox');
  const fit = () => {
    frame.style.height = `${frame.contentDocument.documentElement.offsetHeight}px`;
  };
  frame.addEventListener('load', () => {
    if (frame.srcdoc) new ResizeObserver(fit).observe(frame.contentDocument.documentElement);
  });
  atSight.observe(frame);
  return frame;
}

function linked(target, text) {
  for (const [index, part] of text.split(/(https?:\/\/[^\s<>"]+)/).entries()) {
    target.append(index % 2 ? element('a', { href: part, target: '_blank', rel: 'noopener noreferrer', textContent: part }) : part);
  }
  return target;
}

function withCode(target, text, code) {
  const at = code ? text.indexOf(code) : -1;
  if (at < 0) return linked(target, text);
  linked(target, text.slice(0, at));
  target.append(codeButton(code));
  return linked(target, text.slice(at + code.length));
}

function codes(code) {
  const line = element('p', { className: 'codes' });
  line.append(codeButton(code));
  return line;
}

function codeButton(code) {
  const button = element('button', { type: 'button', className: 'code', textContent: code, title: 'Copy' });
  button.setAttribute('aria-label', `Copy the code ${[...code].join(' ')}`);
  button.addEventListener('click', async () => {
    await copy(code);
    button.classList.add('copied');
    button.replaceChildren(code, ' ', element('small', { textContent: 'copied' }));
    setTimeout(() => {
      button.classList.remove('copied');
      button.replaceChildren(code);
    }, 1500);
  });
  return button;
}

// The clipboard's interface is there on localhost and with TLS only; the old way works for another machine's address too.
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = element('textarea', { value: text });
  document.body.append(field);
  field.select();
  document.execCommand('copy');
  return field.remove();
}

function icon(channel) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  const looks = { viewBox: '0 0 24 24', fill: 'none', stroke: 'currentColor', 'stroke-width': '2', 'stroke-linejoin': 'round', 'aria-hidden': 'true' };
  for (const [name, value] of Object.entries(looks)) svg.setAttribute(name, value);
  path.setAttribute('d', ICONS[channel]);
  svg.append(path);
  return svg;
}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
