// Composes the subgraphs of a rover configuration; exits 1 with the composer's errors, 2 on a wrong call.
//
//   node compose.mjs apollo|guild|cosmo [--config supergraph.yaml] [--url name=routing-url]... [--out file]
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { load } from "js-yaml";

import { COMPOSERS } from "./composers.mjs";

function readSubgraphs(configPath, urls) {
  const { subgraphs } = load(readFileSync(configPath, "utf8"));
  return Object.entries(subgraphs).map(([name, { routing_url: url, schema }]) => ({
    name,
    url: urls[name] ?? url,
    sdl: readFileSync(resolve(dirname(configPath), schema.file), "utf8"),
  }));
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    config: { type: "string", default: fileURLToPath(new URL("../../supergraph.yaml", import.meta.url)) },
    url: { type: "string", multiple: true, default: [] },
    out: { type: "string" },
  },
});
const compose = COMPOSERS[positionals[0]];
if (!compose || positionals.length !== 1) {
  console.error(`name one composer of: ${Object.keys(COMPOSERS).join(", ")}`);
  process.exit(2);
}

const urls = Object.fromEntries(values.url.map((pair) => pair.split(/=(.*)/s, 2)));
const { supergraph, errors } = await compose(readSubgraphs(values.config, urls));
if (errors?.length) {
  for (const error of errors) console.error(error.message);
  process.exit(1);
}
if (values.out) writeFileSync(values.out, supergraph);
