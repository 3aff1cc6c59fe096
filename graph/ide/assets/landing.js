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

const PREVIEW = 'query Preview($token: String!) { invitation(token: $token) { practiceName firstName email expiresAt } }';

show();
addEventListener('hashchange', () => location.reload());

function show() {
  const { title, what, tab, button } = PAGES[location.pathname];
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  document.title = `${title} · Practice Access`;
  put('title', title);
  if (!token) {
    put('what', 'The address of this page has no link token in it. Open it by the link in the e-mail.');
    return;
  }
  put('what', what);
  const link = document.querySelector('#go a');
  link.href = `/graphql#${new URLSearchParams({ tab, token })}`;
  link.textContent = button;
  document.getElementById('go').hidden = false;
  if (tab === 'AcceptInvitation') preview(token);
}

// Looking at an invitation spends nothing.
async function preview(token) {
  try {
    const response = await fetch('/graphql', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ query: PREVIEW, variables: { token } }),
    });
    const { data } = await response.json();
    if (data) put('who', described(data.invitation));
  } catch {
    // The page says enough without it.
  }
}

function described(invitation) {
  if (!invitation) return 'This link is not good, or no longer. Ask your administrator to send the invitation again.';
  const { practiceName, firstName, email, expiresAt } = invitation;
  return `${practiceName} invites ${firstName} (${email}). The link is good until ${new Date(expiresAt).toLocaleString()}.`;
}

function put(id, text) {
  const element = document.getElementById(id);
  element.textContent = text;
  element.hidden = false;
}
