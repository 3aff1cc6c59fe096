// Bundles GraphiQL with the journey into ../static, and writes down whose work is in it.

import { createHash } from 'node:crypto';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { build } from 'esbuild';

const OUT = '../static';

// The tabs are files of their own, so that editors know them as GraphQL: steps/01-SignUp.graphql beside 01-SignUp.json.
const steps = {
  name: 'steps',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^virtual:steps$/ }, () => ({ path: 'steps', namespace: 'steps' }));
    onLoad({ filter: /.*/, namespace: 'steps' }, async () => {
      const names = (await readdir('steps')).filter((name) => name.endsWith('.graphql')).sort();
      const all = names.map(async (name) => ({
        name: path.basename(name, '.graphql').replace(/^\d+-/, ''),
        query: await readFile(`steps/${name}`, 'utf8'),
        ...JSON.parse(await readFile(`steps/${name.replace('.graphql', '.json')}`, 'utf8')),
      }));
      return { contents: JSON.stringify(await Promise.all(all)), loader: 'json' };
    });
  },
};

// Leaves out what an editor of GraphQL and JSON has no use for: some two megabytes.
const leaner = {
  name: 'leaner',
  setup({ onResolve, onLoad, resolve }) {
    onResolve({ filter: /\/editor\.all\.js$/ }, () => ({ path: path.resolve('editor.js') }));
    onResolve({ filter: /^prettier\/(parser-babel|plugins\/estree)$/ }, () => ({ path: path.resolve('json-format.js') }));
    // Its older name leads to a file whose exports a bundler cannot see.
    onResolve({ filter: /^prettier\/parser-graphql$/ }, ({ resolveDir }) =>
      resolve('prettier/plugins/graphql', { kind: 'dynamic-import', resolveDir }));
    // graphiql/style.css holds them already.
    onLoad({ filter: /monaco-editor.*\.css$/ }, () => ({ contents: '', loader: 'js' }));
  },
};

const common = {
  bundle: true,
  minify: true,
  legalComments: 'none', // they are in licenses.txt, whole
  target: 'es2022',
  outdir: OUT,
  metafile: true,
  define: { 'process.env.NODE_ENV': '"production"' },
  logLevel: 'warning',
};

async function licenses(inputs) {
  const folders = new Set();
  for (const input of inputs) {
    const found = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input);
    if (found) folders.add(found[0]);
  }
  const parts = [];
  for (const folder of [...folders].sort()) {
    const { name, version, license } = JSON.parse(await readFile(`${folder}/package.json`, 'utf8'));
    const files = (await readdir(folder)).filter((file) => /^(licen[cs]e|notice|thirdpartynotices|copying)/i.test(file));
    const texts = await Promise.all(files.sort().map((file) => readFile(`${folder}/${file}`, 'utf8')));
    const text = texts.map((each) => each.replaceAll('\r\n', '\n').trim()).join('\n\n');
    parts.push(`${name} ${version}\nLicense: ${license}\n\n${text || 'The package comes without a licence text of its own.'}`);
  }
  return `What is bundled in this folder, and its licences.\n\n${parts.join(`\n\n${'-'.repeat(100)}\n\n`)}\n`;
}

// A test compares this with the source, so that nobody forgets to build.
async function fingerprint() {
  const files = (await readdir('.', { recursive: true, withFileTypes: true }))
    .filter((file) => file.isFile() && !file.parentPath.startsWith('node_modules'))
    .map((file) => path.join(file.parentPath, file.name));
  const hash = createHash('sha256');
  for (const file of [...files, '../assets/messages.js'].sort()) hash.update(await readFile(file));
  return `${hash.digest('hex')}\n`;
}

await rm(OUT, { recursive: true, force: true });
const [page, workers] = await Promise.all([
  build({
    ...common,
    entryPoints: { main: 'main.jsx' },
    format: 'esm',
    splitting: true,
    chunkNames: 'chunks/[name]-[hash]',
    jsx: 'automatic',
    plugins: [steps, leaner],
  }),
  build({
    ...common,
    entryPoints: {
      'editor.worker': 'monaco-editor/esm/vs/editor/editor.worker.js',
      'json.worker': 'monaco-editor/esm/vs/language/json/json.worker.js',
      'graphql.worker': 'monaco-graphql/esm/graphql.worker.js',
    },
    format: 'iife',
  }),
]);
const inputs = [page, workers].flatMap(({ metafile }) => Object.keys(metafile.inputs));
await writeFile(`${OUT}/licenses.txt`, await licenses(inputs));
await writeFile(`${OUT}/built-from.sha256`, await fingerprint());
const bytes = [page, workers].flatMap(({ metafile }) => Object.values(metafile.outputs)).reduce((sum, { bytes: each }) => sum + each, 0);
console.log(`${(bytes / 1e6).toFixed(1)} MB in graph/ide/static`);
