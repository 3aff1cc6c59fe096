import './workers.js';
import 'graphiql/style.css';
import './style.css';
import { GraphiQL } from 'graphiql';
import { useMemo, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { createFetcher } from './fetcher.js';
import { journey, startOver } from './journey.js';
import { answerOthers, followLink } from './link.js';
import { forgetTabs, prepareTabs, storage } from './tabs.js';

const SHOWN_LENGTH = 28;

function Bar({ used = [], problem }) {
  const restart = () => {
    startOver();
    forgetTabs();
    // GraphiQL writes its tabs once more half a second after a change; leaving at once comes before that.
    location.reload();
  };
  return (
    <header className="journey">
      <strong>Practice Access</strong>
      <p aria-live="polite">
        {problem ? <span className="problem">{problem}</span> : <Filled used={used} />}
      </p>
      <a href="/mailbox" target="practice-access-mailbox">Mailbox</a>
      <button type="button" onClick={restart} title="Fresh tabs, addresses and numbers">Start over</button>
    </header>
  );
}

function Filled({ used }) {
  if (!used.length) return <>Run the tabs in their order. Addresses of this run: …{journey.run}@clinic.example</>;
  const each = Object.entries(Object.fromEntries(used)).map(([name, value]) => (
    <span className="filled" key={name} title={value}>
      {name} <code>{value.length > SHOWN_LENGTH ? `${value.slice(0, SHOWN_LENGTH)}…` : value}</code>
    </span>
  ));
  return <>Filled in: {each}</>;
}

function Ide({ tab }) {
  const [shown, show] = useState({});
  const fetcher = useMemo(() => createFetcher(show), []);
  return (
    <>
      <Bar {...shown} />
      <GraphiQL
        fetcher={fetcher}
        storage={storage}
        initialQuery={tab.query}
        initialVariables={tab.variables}
        initialHeaders={tab.headers}
        defaultEditorToolsVisibility="variables"
        isHeadersEditorEnabled
        shouldPersistHeaders
        showPersistHeadersSettings={false}
      >
        <GraphiQL.Logo>{' '}</GraphiQL.Logo>
      </GraphiQL>
    </>
  );
}

// Dragging tabs about is made for a row of them; in a column the slightest slip of a click would reorder them.
document.getElementById('ide').addEventListener('pointerdown', (event) => {
  if (event.target.closest('.graphiql-tab')) event.stopPropagation();
}, { capture: true });

// A link followed while this page is open changes the fragment only.
addEventListener('hashchange', () => location.reload());

// A line may be longer than its editor is wide, and GraphiQL has no setting for that.
import('monaco-graphql/esm/monaco-editor.js').then(({ editor }) => {
  const wrap = (each) => each.updateOptions({ wordWrap: 'on', wrappingIndent: 'indent' });
  editor.onDidCreateEditor(wrap);
  editor.getEditors().forEach(wrap); // GraphiQL may have been first
});

const tab = prepareTabs(await followLink());
answerOthers();
createRoot(document.getElementById('ide')).render(<Ide tab={tab} />);
