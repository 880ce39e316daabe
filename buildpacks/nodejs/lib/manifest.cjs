// Answers questions about a package.json: `node manifest.cjs FILE QUESTION [NAME]`; yes is exit status 0.
const fs = require('fs');

const [file, question, name] = process.argv.slice(2);
let manifest;
try {
  manifest = JSON.parse(fs.readFileSync(file, 'utf8').replace(/^\uFEFF/, ''));
} catch (e) {
  console.error(` !     package.json cannot be read: ${e.message}`);
  process.exit(2);
}
if (manifest === null || typeof manifest !== 'object' || Array.isArray(manifest)) {
  console.error(' !     package.json is not a JSON object');
  process.exit(2);
}

const has = (table, key) => Object.prototype.hasOwnProperty.call(manifest[table] || {}, key);
// npm runs these while it installs; what they make may lie outside node_modules.
const lifecycle = ['preinstall', 'install', 'postinstall', 'prepublish', 'preprepare', 'prepare', 'postprepare'];
const isLocal = (version) => /^(file:|link:|\.|\/|~\/)/.test(String(version));
const dependencies = () =>
  ['dependencies', 'devDependencies', 'optionalDependencies'].flatMap((table) => Object.values(manifest[table] || {}));

const answers = {
  valid: () => true,
  script: () => has('scripts', name),
  dev: () => Object.keys(manifest.devDependencies || {}).length > 0,
  // Whether node_modules depends on manifest and lock file alone.
  'self-contained': () =>
    !manifest.workspaces && !lifecycle.some((script) => has('scripts', script)) && !dependencies().some(isLocal),
};
process.exit(answers[question]() ? 0 : 1);
