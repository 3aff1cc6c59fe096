// Stands in for the product's own client where links in e-mails lead: says what the link is, and takes it to GraphiQL.

const PAGES = {
  '/verify-email': {
    title: 'Confirm your e-mail address',
    what: 'This link came by e-mail to whoever signs a practice up. It proves the address and starts setting up the account: '
      + 'a phone comes next, then a password.',
    tab: 'VerifyEmail',
    button: 'Open the VerifyEmail tab with this link',
  },
  '/join': {
    title: 'Join your practice',
    what: 'This is an invitation. Together with the practice access code, which your administrator tells you in person or by phone, '
      + 'it starts setting up your account: a phone comes next, then a password.',
    tab: 'AcceptInvitation',
    button: 'Open the AcceptInvitation tab with this link',
  },
  '/reset-password': {
    title: 'Set a new password',
    what: 'This link came by e-mail to whoever asked for a new password, or got it from an administrator. It is half of what it takes: '
      + 'a code to the phone comes next, then the new password.',
    tab: 'StartPasswordReset',
    button: 'Open the StartPasswordReset tab with this link',
  },
  '/confirm-email': {
    title: 'Confirm your new e-mail address',
    what: 'This link came by e-mail to the address that somebody wants to use from now on. Following it makes the address theirs.',
    tab: 'ConfirmEmail',
    button: 'Open the ConfirmEmail tab with this link',
  },
  '/stop-change': {
    title: 'Stop a change to your account',
    what: 'This link came because somebody else changed the address or the phone of your account, or is about to. If that was not right, '
      + 'follow it: what was there before comes back, every session ends, and the administrators of your practice are told.',
    tab: 'StopAccountChange',
    button: 'Open the StopAccountChange tab with this link',
  },
};

const DECLINE = 'mutation Decline($input: DeclineInvitationInput!) { declineInvitation(input: $input) {'
  + ' ... on InvitationDeclined { practiceName unknownPractice } ... on UserError { message } } }';
const PREVIEW = 'query Preview($token: String!) { invitation(token: $token) { practiceName firstName email expiresAt } }';

const path = Object.keys(PAGES).find((each) => location.pathname.startsWith(each));
const form = document.getElementById('paste');

form.addEventListener('submit', (event) => {
  event.preventDefault();
  goOn(document.getElementById('brought').value);
});
addEventListener('hashchange', () => location.reload());
const brought = decoded(location.href.slice((location.origin + path).length));
show(tidied());

// What the link brought; the server takes away what cannot be in a token. Gateways write the "#" as "%23" or "%2523", which makes the token a
// part of the path, or "?", and some drop what stands behind it. Wherever it is, it moves to where browsers do not send it from.
function tidied() {
  const token = /token=([^&]*)/is.exec(brought)?.[1] ?? '';
  if (token) history.replaceState(null, '', withToken(token));
  return token;
}

function decoded(text) {
  let plain = text;
  for (let times = 0; times < 3; times += 1) {
    try {
      plain = decodeURIComponent(plain);
    } catch {
      return plain;
    }
  }
  return plain;
}

function goOn(token) {
  history.replaceState(null, '', withToken(token));
  show(token);
}

function withToken(token) {
  return `${path}#${new URLSearchParams({ token })}`;
}

function show(token) {
  const { title, what, tab, button } = PAGES[path];
  document.title = `${title} · Practice Access`;
  put('title', title);
  form.hidden = token !== '';
  if (!token) {
    put('what', 'Part of this link is missing.');
    return;
  }
  put('what', what);
  const link = document.querySelector('#go a');
  link.href = `/graphql#${new URLSearchParams({ tab, token })}`;
  link.textContent = button;
  document.getElementById('go').hidden = false;
  if (tab !== 'AcceptInvitation') return;
  preview(token);
  if (/[?#&]decline=1/i.test(brought)) offerToDecline(token);
}

// Only a click declines: mail gateways open links.
function offerToDecline(token) {
  const paragraph = document.getElementById('decline');
  paragraph.hidden = false;
  paragraph.querySelectorAll('button').forEach((button, place) => {
    button.addEventListener('click', () => decline(token, place === 1));
  });
}

async function decline(token, unknownPractice) {
  try {
    const { declineInvitation } = await ask(DECLINE, { input: { token, unknownPractice } });
    const { message, practiceName, unknownPractice: isReported } = declineInvitation;
    put('who', message ?? `You declined the invitation. ${isReported ? `This practice cannot e-mail you again: ${practiceName}` : `The practice: ${practiceName}`}`);
    if (message) return;
    for (const id of ['what', 'go', 'decline']) document.getElementById(id).hidden = true;
  } catch {
    put('who', 'The server did not answer. Try again.');
  }
}

// Looking at an invitation spends nothing.
async function preview(token) {
  try {
    const { invitation } = await ask(PREVIEW, { token });
    put('who', described(invitation));
    form.hidden = invitation !== null;
    document.getElementById('go').hidden = invitation === null;
  } catch {
    // The page says enough without it.
  }
}

async function ask(query, variables) {
  const response = await fetch('/graphql', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  });
  return (await response.json()).data;
}

function described(invitation) {
  if (!invitation) return 'This link is not good, or no longer. Paste the link from the newest e-mail, or ask your administrator to send the invitation again.';
  const { practiceName, firstName, email, expiresAt } = invitation;
  return `${practiceName} invites ${firstName} (${email}). The link is good until ${new Date(expiresAt).toLocaleString()}.`;
}

function put(id, text) {
  const element = document.getElementById(id);
  element.textContent = text;
  element.hidden = false;
}
