// The Experiment Manager: a second subgraph that refers to sessions, tiles and assignments by their keys, in memory.
import { readFileSync } from "node:fs";

import { ApolloServer } from "@apollo/server";
import { startStandaloneServer } from "@apollo/server/standalone";
import { buildSubgraphSchema } from "@apollo/subgraph";
import { GraphQLError, parse } from "graphql";

import { announce, endWithStarter } from "./process.mjs";

const EPOCH_MS = Date.UTC(2026, 0, 1);
const EXPERIMENTS_MAX = 1000;

// One experiment is there from the start, and its session is nowhere: what a purged session leaves behind.
const experiments = [
  {
    id: "experiment-0",
    name: "orphan",
    hypothesis: "A reference to an absent session is null, not a failure.",
    sessionId: "00000000-0000-4000-8000-000000000000",
  },
];

function startExperiment({ input }) {
  if (experiments.length >= EXPERIMENTS_MAX) {
    throw new GraphQLError("no more experiments fit", { extensions: { code: "QUOTA_EXCEEDED" } });
  }
  const experiment = { id: `experiment-${experiments.length}`, ...input };
  experiments.push(experiment);
  return { experiment };
}

function experimentById(id) {
  return experiments.find((experiment) => experiment.id === id) ?? null;
}

function cellOf(tileId) {
  return tileId?.split(":").at(-1);
}

function reference(id) {
  return id ? { id } : null;
}

const resolvers = {
  Query: {
    experiments: () => experiments,
    experiment(_, { id }) {
      const found = experimentById(id);
      if (!found) {
        throw new GraphQLError(`no experiment ${id}`, { extensions: { code: "EXPERIMENT_NOT_FOUND", id } });
      }
      return found;
    },
    experimentManagerCaller: (_, __, { authorization }) => authorization,
  },
  Mutation: { startExperiment: (_, args) => startExperiment(args) },
  Experiment: {
    __resolveReference: ({ id }) => experimentById(id),
    // A time made from the id keeps every run the same.
    startedAt: ({ id }) => new Date(EPOCH_MS + Number(id.split("-")[1]) * 1000).toISOString(),
    session: ({ sessionId }) => reference(sessionId),
    tile: ({ tileId }) => reference(tileId),
    assignment: ({ assignmentId }) => reference(assignmentId),
  },
  Session: {
    __resolveReference: ({ id }) => ({ id }),
    experiments: ({ id }) => experiments.filter((experiment) => experiment.sessionId === id),
  },
  HexCell: {
    __resolveReference: ({ h3Index }) => ({ h3Index }),
    experiments: ({ h3Index }) => experiments.filter((experiment) => cellOf(experiment.tileId) === h3Index),
  },
};

const typeDefs = parse(readFileSync(new URL("experiment-manager.graphql", import.meta.url), "utf8"));
const server = new ApolloServer({ schema: buildSubgraphSchema({ typeDefs, resolvers }) });
const { url } = await startStandaloneServer(server, {
  listen: { host: "127.0.0.1", port: 0 },
  context: async ({ req }) => ({ authorization: req.headers.authorization ?? null }),
});
announce(new URL("graphql", url).href);
endWithStarter();
