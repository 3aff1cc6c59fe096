// GraphiQL's tabs: those of the journey on the first visit, then as they were left.

import steps from 'virtual:steps';

const TABS = 'graphiql:tabState';

// Widths, theme and open panes are a person's taste and stay; what was typed goes with the browser tab, since it may hold tokens.
const isTaste = (key) => /(theme|Flex|visiblePlugin)$/.test(key);
const storeOf = (key) => (isTaste(key) ? localStorage : sessionStorage);
// The examples' variables are longer than GraphiQL makes room for by itself.
const DEFAULTS = { 'graphiql:secondaryEditorFlex': '1.3' };
export const storage = {
  getItem: (key) => storeOf(key).getItem(key) ?? DEFAULTS[key] ?? null,
  setItem: (key, value) => storeOf(key).setItem(key, value),
  removeItem: (key) => storeOf(key).removeItem(key),
  clear: () => sessionStorage.clear(),
  get length() {
    return sessionStorage.length;
  },
};

// The tab that is open, with the tab of this name opened if one is given.
export function prepareTabs(name) {
  const state = JSON.parse(sessionStorage.getItem(TABS)) ?? { activeTabIndex: 0, tabs: steps.map(tab) };
  if (name) {
    const index = state.tabs.findIndex(({ title }) => title === name);
    state.activeTabIndex = index >= 0 ? index : state.tabs.push(tab(steps.find((step) => step.name === name))) - 1;
  }
  sessionStorage.setItem(TABS, JSON.stringify(state));
  return state.tabs[state.activeTabIndex];
}

export const numberOf = (name) => steps.findIndex((step) => step.name === name) + 1;

export const isStep = (name) => steps.some((step) => step.name === name);

export function forgetTabs() {
  for (const key of Object.keys(sessionStorage)) {
    if (key.startsWith('graphiql:')) sessionStorage.removeItem(key);
  }
}

const pretty = (value) => (value ? JSON.stringify(value, null, 2) : '');

function tab({ name, query, variables, headers }) {
  return {
    id: crypto.randomUUID?.() ?? name, // there is none where the page is served without TLS to another machine
    title: name,
    operationName: name,
    query,
    variables: pretty(variables),
    headers: pretty(headers),
    response: null,
  };
}
