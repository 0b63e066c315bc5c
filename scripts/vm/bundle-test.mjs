// Makes of TypeScript of the tests one file for Node.js in the VM, with the test runner's library in it. koffi must lie
// beside it, in node_modules.
//   node scripts/vm/bundle-test.mjs SOURCE FILE.mjs
import { writeFileSync } from 'node:fs';
import { bundle } from '../bundle.mjs';

const [source, file] = process.argv.slice(2);

/** CommonJS inside of an ES module asks for Node's own modules. */
const REQUIRE =
  "import { createRequire as portferryCreateRequire } from 'node:module'; const require = portferryCreateRequire(import.meta.url);";

/** The library shows React's elements by a package that it asks for when it is loaded. No test has any. */
const withoutReact = {
  name: 'without-react',
  setup({ onLoad }) {
    onLoad({ filter: /react-element-to-jsx-string\.js$/ }, () => ({ contents: 'export default String;' }));
  },
};

const { outputFiles } = await bundle({
  entryPoints: [source],
  format: 'esm',
  // A failure shows the line.
  minifyWhitespace: false,
  banner: { js: REQUIRE },
  plugins: [withoutReact],
});
writeFileSync(file, outputFiles[0].contents);
