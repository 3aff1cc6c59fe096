// Monaco looks for this before it makes its first worker, so it is imported first.
const NAMES = { json: 'json', graphql: 'graphql' };

globalThis.MonacoEnvironment = {
  getWorker: (_id, label) => new Worker(`/graphql/ide/static/${NAMES[label] ?? 'editor'}.worker.js`),
};
