// Links of the form /graphql#tab=AcceptInvitation&token=…, by which the landing pages of e-mails lead here.

import { adopt, isKnown, journey, rememberLink } from './journey.js';
import { isStep } from './tabs.js';

const ALIASES = { Join: 'AcceptInvitation' };
const PATIENCE_MS = 250;

const channel = new BroadcastChannel('practice-access:journey');

// Other browser tabs may ask for the journey of this one.
export function answerOthers() {
  channel.onmessage = ({ data }) => {
    if (data === 'asking') channel.postMessage({ journey });
  };
}

// The name of the tab that the address asks for, or null. A token in it is remembered, and taken out of the address bar.
export async function followLink() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const asked = fragment.get('tab');
  const name = ALIASES[asked] ?? asked;
  if (!isStep(name)) return null;
  history.replaceState(null, '', location.pathname);
  if (!isKnown()) await adoptOpenJourney();
  if (fragment.get('token')) rememberLink(name, fragment.get('token'));
  return name;
}

function adoptOpenJourney() {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, PATIENCE_MS);
    channel.onmessage = ({ data }) => {
      if (!data.journey) return;
      clearTimeout(timer);
      adopt(data.journey);
      resolve();
    };
    channel.postMessage('asking');
  });
}
