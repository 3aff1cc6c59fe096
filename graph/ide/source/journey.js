// What is known of the journey so far: read from answers and the mailbox, kept for as long as the browser tab is open.

import * as messages from '../assets/messages.js';
import { find } from './mailbox.js';
import { numberOf } from './tabs.js';

const KEY = 'practice-access:journey';
const AREA_CODES = ['202', '206', '212', '303', '312', '404', '415', '503', '512', '602', '617', '702', '713', '808'];
const PEOPLE = 3;

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
  const name = Object.keys(LINKS).find((each) => LINKS[each].opens === stepName);
  if (!name) return;
  journey.links[name] = { ...journey.links[name], token, isGiven: true };
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
  if (name === 'run') return journey.run;
  if (name === 'practiceAccessCode') return practiceAccessCode();
  if (name in LINKS) return link(name);
  const [person, what] = name.split('.');
  if (!(person in journey.people) || !(what in SOURCES)) {
    const links = Object.keys(LINKS).map((each) => `{{${each}}}`).join(', ');
    throw new Missing(`Nothing is called {{${name}}} here. There are {{run}}, ${links}, {{practiceAccessCode}}, and for admin, `
      + `invitee and colleague: ${Object.keys(SOURCES).join(', ')}, as in {{admin.session}}.`);
  }
  if (what === 'code') return code(person);
  return journey.people[person][what] ?? miss(`{{${name}}} is not known yet`, SOURCES[what][person]);
}

// The links that come by e-mail: to whom, in which message, after which step, and which step takes their token.
const LINKS = {
  verifyEmailToken: { person: 'admin', kind: 'verify_email', after: 'SignUp', opens: 'VerifyEmail' },
  invitationToken: { person: 'invitee', kind: 'invitation', after: 'Invite', opens: 'AcceptInvitation' },
  passwordResetToken: { person: 'invitee', kind: 'password_reset', after: 'RequestPasswordReset', opens: 'StartPasswordReset' },
  emailChangeToken: { person: 'invitee', kind: 'email_change', after: 'VerifyEmailChange', opens: 'ConfirmEmail' },
  accountChangeToken: { person: 'invitee', kind: 'account_change', after: 'ResetPhone', opens: 'StopAccountChange' },
};

// The step whose answer brings each value, by person; for the message that says what to run first.
const SOURCES = {
  phone: {},
  newPhone: {},
  email: {},
  password: { admin: 'SetPassword', invitee: 'InviteeSetPassword' },
  enrollmentToken: { admin: 'VerifyEmail', invitee: 'AcceptInvitation' },
  code: { admin: 'SendPhoneCode', invitee: 'InviteeSendPhoneCode' },
  session: { admin: 'SetPassword', invitee: 'InviteeSetPassword' },
  deviceToken: { admin: 'SetPassword', invitee: 'InviteeSetPassword' },
  challengeToken: { admin: 'RenewSignIn', invitee: 'SignIn' },
  otherDeviceId: { admin: 'SignedInPlaces', invitee: 'SignedInPlaces' },
  userId: { admin: 'SetPassword', invitee: 'Invite', colleague: 'Invite' },
  deliveryId: { admin: 'Deliveries' },
};

function miss(problem, stepName) {
  throw new Missing(stepName ? `${problem}: run tab ${numberOf(stepName)}, ${stepName}, first.` : `${problem}.`);
}

async function link(name) {
  const known = journey.links[name] ?? {};
  if (known.isGiven) return known.token;
  const { person, kind, after: stepName } = LINKS[name];
  const to = known.to ?? journey.people[person].email;
  const expected = known.after !== undefined;
  const token = await find({ kind, to, after: known.after, expected, extract: messages.linkToken });
  if (!token) missMessage(`No link has come to ${to}`, expected, stepName);
  journey.links[name] = { ...known, token };
  save();
  return token;
}

// Another link is on its way: the one before it, and one that was opened, are of no more use.
function awaitLink(name, to, after) {
  journey.links[name] = { to, after };
}

async function code(person) {
  const { phone, codePhone, codeStep, codeAfter: after } = journey.people[person];
  if (codeStep) miss('No code was sent for this challenge yet', codeStep);
  const to = codePhone ?? phone;
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
  const input = sent.variables?.input ?? {};
  for (const [field, answer] of Object.entries(data ?? {})) {
    KEEP_OF_TYPE[answer?.__typename]?.(owner, answer, before, input, field);
    KEEP_OF_FIELD[field]?.(owner, answer ?? {}, before, input);
  }
  save();
}

// What sends the code for a challenge, by the mutation that made it.
const CODE_STEPS = {
  signIn: 'SendSecurityCode',
  renewSignIn: 'SendRenewalCode',
  startPasswordReset: 'SendResetCode',
  changeEmail: 'SendEmailChangeCode',
  changePhone: 'SendPhoneChangeCode',
};

const KEEP_OF_TYPE = {
  Enrollment(owner, { token }) {
    owner.enrollmentToken = token ?? owner.enrollmentToken;
  },
  SecurityCodeSent(owner, _answer, before, { phone }) {
    Object.assign(owner, { codeAfter: before, codeStep: undefined, phone: phone ? asInMailbox(phone) : owner.phone });
  },
  SignedIn(owner, { sessionToken, deviceToken, user }, _before, { password, newPassword }) {
    owner.session = sessionToken ?? owner.session;
    owner.deviceToken = deviceToken ?? owner.deviceToken;
    owner.userId = user?.id ?? owner.userId;
    owner.password = newPassword ?? password ?? owner.password;
  },
  SecurityChallenge(owner, { token }, _before, _input, field) {
    Object.assign(owner, { challengeToken: token ?? owner.challengeToken, codeStep: CODE_STEPS[field], codePhone: undefined });
  },
  InviteReport(_owner, { rows = [] }, before) {
    const invited = rows.map(({ user }) => user).filter(Boolean);
    for (const [index, name] of ['invitee', 'colleague'].entries()) {
      const { id, email } = invited[index] ?? {};
      if (id) expectInvitation(name, id, email, before);
    }
  },
  PracticeAccessCode(_owner, { code: fresh }) {
    journey.practiceAccessCode = fresh ?? journey.practiceAccessCode;
  },
  EmailConfirmed(owner, { email }) {
    owner.email = email ?? owner.email;
  },
};

// By the name of the field, where the type alone does not say what happened.
const KEEP_OF_FIELD = {
  signUp(_owner, { __typename, email }, before) {
    if (__typename !== 'CheckYourEmail') return;
    const { admin } = journey.people;
    admin.email = email ?? admin.email;
    awaitLink('verifyEmailToken', admin.email, before);
  },
  resend(_owner, { __typename, email }, before, { userId }) {
    const name = Object.keys(journey.people).find((each) => journey.people[each].userId === userId);
    if (name && __typename === 'User') expectInvitation(name, userId, email, before);
  },
  usersTile(_owner, { practiceAccessCode: current }) {
    journey.practiceAccessCode = current?.code ?? journey.practiceAccessCode;
  },
  viewer(owner, { devices = [] }) {
    owner.otherDeviceId = devices.find(({ current }) => current === false)?.id ?? owner.otherDeviceId;
  },
  deliveries(owner, { nodes = [] }) {
    const dead = nodes.find(({ status }) => ['BOUNCED', 'FAILED', 'CANCELED'].includes(status));
    owner.deliveryId = (dead ?? nodes[0])?.id ?? owner.deliveryId;
  },
  requestPasswordReset(_owner, { __typename, email }, before) {
    if (__typename === 'CheckYourEmail') awaitLink('passwordResetToken', email, before);
  },
  changePassword(owner, { __typename }, _before, { newPassword }) {
    if (__typename === 'User') owner.password = newPassword;
  },
  verifyEmailChange(_owner, { __typename, email }, before) {
    if (__typename === 'CheckYourEmail') awaitLink('emailChangeToken', email, before);
  },
  changePhone(owner, { __typename }, _before, { phone }) {
    if (__typename === 'SecurityChallenge') owner.codePhone = asInMailbox(phone);
  },
  confirmPhone(owner, { __typename }) {
    if (__typename === 'User') Object.assign(owner, { phone: owner.codePhone ?? owner.phone, codePhone: undefined });
  },
};

// A number as somebody typed it is not the one that the mailbox knows.
const asInMailbox = (phone) => `+${phone.replace(/\D/g, '')}`;

function expectInvitation(name, userId, email, before) {
  const person = journey.people[name];
  Object.assign(person, { userId, email: email ?? person.email });
  if (name === LINKS.invitationToken.person) awaitLink('invitationToken', person.email, before);
}

// Whose request it was: whoever's address, number or secret stands in it.
function ownerOf(text) {
  const has = (value) => typeof value === 'string' && value !== '' && text.includes(value);
  const marks = ({ email, phone, enrollmentToken, challengeToken, session }) => [email, phone, enrollmentToken, challengeToken, session].some(has);
  const opened = Object.keys(LINKS).find((name) => has(journey.links[name]?.token));
  return Object.keys(journey.people).find((name) => marks(journey.people[name])) ?? LINKS[opened]?.person ?? 'admin';
}

// A fresh run has addresses and numbers of its own, so that the journey can be walked again: an address is taken for good, and a
// number gets a few codes an hour only. 555-0100 to 555-0199 belong to nobody.
function begin() {
  const run = Math.random().toString(36).slice(2, 7);
  const area = AREA_CODES[Math.floor(Math.random() * AREA_CODES.length)];
  const line = Math.floor(Math.random() * (101 - 2 * PEOPLE));
  const phone = (offset) => `+1${area}55501${String(line + offset).padStart(2, '0')}`;
  const person = (name, offset) => ({ email: `${name}.${run}@clinic.example`, phone: phone(offset), newPhone: phone(offset + PEOPLE) });
  return { run, links: {}, people: { admin: person('ada', 0), invitee: person('ben', 1), colleague: person('cleo', 2) } };
}

function load() {
  const kept = JSON.parse(sessionStorage.getItem(KEY));
  return kept?.links ? kept : null; // an earlier version's has none
}

function save() {
  sessionStorage.setItem(KEY, JSON.stringify(journey));
}
