// What is known of the journey so far: read from answers and the mailbox, kept for as long as the browser tab is open.

import * as messages from '../assets/messages.js';
import { find } from './mailbox.js';
import { numberOf } from './tabs.js';

const KEY = 'practice-access:journey';
const AREA_CODES = ['202', '206', '212', '303', '312', '404', '415', '503', '512', '602', '617', '702', '713', '808'];

export let journey = load() ?? begin();

export function startOver() {
  journey = begin();
  save();
}

// Another browser tab's journey, so that a link from an e-mail goes on with it.
export function adopt(other) {
  journey = other;
  save();
}

export const isKnown = () => load() !== null;

export function rememberLink(stepName, token) {
  const person = stepName === 'VerifyEmail' ? 'admin' : 'invitee';
  Object.assign(journey.people[person], { linkToken: token, isLinkGiven: true });
  save();
}

// Replaces every {{placeholder}} in variables or headers. Returns the filled value; pushes [name, value] pairs to `used`.
export async function fill(value, used) {
  if (typeof value === 'string') return fillText(value, used);
  if (Array.isArray(value)) return Promise.all(value.map((each) => fill(each, used)));
  if (value === null || typeof value !== 'object') return value;
  const filled = Object.entries(value).map(async ([name, each]) => [name, await fill(each, used)]);
  return Object.fromEntries(await Promise.all(filled));
}

async function fillText(text, used) {
  let filled = text;
  for (const [placeholder, name] of text.matchAll(/\{\{\s*([\w.]+)\s*\}\}/g)) {
    const found = await valueOf(name);
    used.push([name, found]);
    filled = filled.replace(placeholder, () => found);
  }
  return filled;
}

export class Missing extends Error {}

async function valueOf(name) {
  const direct = { run: journey.run, verifyEmailToken: () => link('admin', 'verify_email', 'SignUp'),
    invitationToken: () => link('invitee', 'invitation', 'Invite'), practiceAccessCode }[name];
  if (typeof direct === 'string') return direct;
  if (direct) return direct();
  const [person, what] = name.split('.');
  if (!(person in journey.people) || !(what in SOURCES)) {
    throw new Missing(`Nothing is called {{${name}}} here. There are {{run}}, {{verifyEmailToken}}, {{invitationToken}}, `
      + `{{practiceAccessCode}}, and for admin, invitee and colleague: ${Object.keys(SOURCES).join(', ')}, as in {{admin.session}}.`);
  }
  if (what === 'code') return code(person);
  return journey.people[person][what] ?? miss(`{{${name}}} is not known yet`, SOURCES[what][person]);
}

// The step whose answer brings each value, by person; for the message that says what to run first.
const SOURCES = {
  phone: {},
  email: {},
  enrollmentToken: { admin: 'VerifyEmail', invitee: 'AcceptInvitation' },
  code: { admin: 'SendPhoneCode', invitee: 'InviteeSendPhoneCode' },
  session: { admin: 'SetPassword', invitee: 'InviteeSetPassword' },
  deviceToken: { admin: 'SetPassword', invitee: 'InviteeSetPassword' },
  challengeToken: { admin: 'SignIn', invitee: 'SignIn' },
  userId: { admin: 'SetPassword', invitee: 'Invite', colleague: 'Invite' },
};

function miss(problem, stepName) {
  throw new Missing(stepName ? `${problem}: run tab ${numberOf(stepName)}, ${stepName}, first.` : `${problem}.`);
}

async function link(person, kind, stepName) {
  const known = journey.people[person];
  if (known.isLinkGiven) return known.linkToken;
  const expected = known.linkAfter !== undefined;
  const token = await find({ kind, to: known.email, after: known.linkAfter, expected, extract: messages.linkToken });
  if (!token) missMessage(`No link has come to ${known.email}`, expected, stepName);
  known.linkToken = token;
  save();
  return token;
}

async function code(person) {
  const { phone: to, codeAfter: after } = journey.people[person];
  const expected = after !== undefined;
  const found = await find({ kind: 'security_code', to, after, expected, extract: messages.securityCode });
  return found ?? missMessage(`No code has come to ${to}`, expected, SOURCES.code[person]);
}

async function practiceAccessCode() {
  if (journey.practiceAccessCode) return journey.practiceAccessCode;
  const { email: to, session } = journey.people.admin;
  const expected = session !== undefined;
  const found = await find({ kind: 'practice_access_code', to, expected, extract: messages.practiceAccessCode });
  return found ?? missMessage(`No practice access code has come to ${to}`, expected, 'SetPassword');
}

function missMessage(problem, expected, stepName) {
  if (!expected) miss(`${problem} yet`, stepName);
  throw new Missing(`${problem} yet. Messages arrive at /mailbox while the worker runs; where they go out for real, put the value in `
    + 'place of the placeholder by hand.');
}

// Keeps what later steps need from an answer. `sent`: variables and headers as they went out. `before`: the mailbox's newest id then.
export function remember(sent, data, before) {
  const owner = journey.people[ownerOf(JSON.stringify(sent))];
  for (const [field, answer] of Object.entries(data ?? {})) {
    const kept = field === 'resend' ? 'Resent' : answer?.__typename;
    KEEP[kept]?.(owner, answer, before, sent.variables?.input ?? {});
  }
  if (data?.usersTile?.practiceAccessCode) journey.practiceAccessCode = data.usersTile.practiceAccessCode.code;
  save();
}

const KEEP = {
  CheckYourEmail(_owner, { email }, before) {
    const { admin } = journey.people;
    Object.assign(admin, { email: email ?? admin.email, linkAfter: before, isLinkGiven: false });
  },
  Enrollment(owner, { token }) {
    owner.enrollmentToken = token ?? owner.enrollmentToken;
  },
  SecurityCodeSent(owner, _answer, before, { phone }) {
    // A number as somebody typed it is not the one that the mailbox knows.
    Object.assign(owner, { codeAfter: before, phone: phone ? `+${phone.replace(/\D/g, '')}` : owner.phone });
  },
  SignedIn(owner, { sessionToken, deviceToken, user }) {
    owner.session = sessionToken ?? owner.session;
    owner.deviceToken = deviceToken ?? owner.deviceToken;
    owner.userId = user?.id ?? owner.userId;
  },
  SecurityChallenge(owner, { token }) {
    owner.challengeToken = token ?? owner.challengeToken;
  },
  InviteReport(_owner, { rows = [] }, before) {
    const invited = rows.map(({ user }) => user).filter(Boolean);
    for (const [index, name] of ['invitee', 'colleague'].entries()) {
      const { id, email } = invited[index] ?? {};
      if (id) Object.assign(journey.people[name], { userId: id, ...(email && { email }), linkAfter: before, isLinkGiven: false });
    }
  },
  Resent(_owner, { __typename, email }, before, { userId }) {
    const person = Object.values(journey.people).find((each) => each.userId === userId);
    if (person && __typename === 'User') Object.assign(person, { email: email ?? person.email, linkAfter: before, isLinkGiven: false });
  },
};

// Whose request it was: whoever's address, number or secret stands in it.
function ownerOf(text) {
  const has = (value) => typeof value === 'string' && value !== '' && text.includes(value);
  const marks = ({ email, phone, linkToken, enrollmentToken, challengeToken, session }) =>
    [email, phone, linkToken, enrollmentToken, challengeToken, session].some(has);
  return Object.keys(journey.people).find((name) => marks(journey.people[name])) ?? 'admin';
}

// A fresh run has addresses and numbers of its own, so that the journey can be walked again: an address is taken for good, and a
// number gets a few codes an hour only. 555-0100 to 555-0199 belong to nobody.
function begin() {
  const run = Math.random().toString(36).slice(2, 7);
  const area = AREA_CODES[Math.floor(Math.random() * AREA_CODES.length)];
  const line = Math.floor(Math.random() * 98);
  const person = (name, offset) => ({ email: `${name}.${run}@clinic.example`, phone: `+1${area}55501${String(line + offset).padStart(2, '0')}` });
  return { run, people: { admin: person('ada', 0), invitee: person('ben', 1), colleague: person('cleo', 2) } };
}

function load() {
  return JSON.parse(sessionStorage.getItem(KEY));
}

function save() {
  sessionStorage.setItem(KEY, JSON.stringify(journey));
}
