// The three composers behind one signature: subgraphs {name, url, sdl} in, {supergraph} or {errors} out.
// Each library is loaded only when asked for: together they take seconds to start.
import { parse, print } from "graphql";

async function apollo(subgraphs) {
  const { composeServices } = await import("@apollo/composition");
  const { supergraphSdl, errors } = composeServices(
    subgraphs.map(({ name, url, sdl }) => ({ name, url, typeDefs: parse(sdl) })),
  );
  return { supergraph: supergraphSdl, errors };
}

async function guild(subgraphs) {
  const { composeServices } = await import("@theguild/federation-composition");
  const { supergraphSdl, errors } = composeServices(
    subgraphs.map(({ name, url, sdl }) => ({ name, url, typeDefs: parse(sdl) })),
  );
  return { supergraph: supergraphSdl, errors };
}

async function cosmo(subgraphs) {
  const { federateSubgraphs, LATEST_ROUTER_COMPATIBILITY_VERSION } = await import("@wundergraph/composition");
  const result = federateSubgraphs({
    subgraphs: subgraphs.map(({ name, url, sdl }) => ({ name, url, definitions: parse(sdl) })),
    version: LATEST_ROUTER_COMPATIBILITY_VERSION,
  });
  return result.success ? { supergraph: print(result.federatedGraphAST) } : { errors: result.errors };
}

export const COMPOSERS = { apollo, guild, cosmo };
