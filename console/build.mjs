// build.mjs MODULES OUT - bundles src/ into OUT/console.js, console.css and console.html.
//
// MODULES is the folder that `npm ci` filled. stdlib/console_pages.lua serves what comes out.
import { createRequire } from "node:module";
import { copyFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const [modules, out] = process.argv.slice(2).map((path) => resolve(path));
const { buildSync } = createRequire(join(modules, "package.json"))("esbuild");
const here = dirname(fileURLToPath(import.meta.url));

buildSync({
  entryPoints: { console: join(here, "src/main.jsx") },
  outdir: out,
  nodePaths: [join(modules, "node_modules")],
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2020", "chrome90", "firefox90", "safari15"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "inline",
  logLevel: "warning",
});

copyFileSync(join(here, "src/console.html"), join(out, "console.html"));
