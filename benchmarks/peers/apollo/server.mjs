// An Apollo Server subgraph as its documentation teaches: a schema, resolvers, a DataLoader per request. The data are
// JSON blobs in Valkey. Arguments: port, unix socket of Valkey.
import { readFileSync } from "node:fs";
import { ApolloServer } from "@apollo/server";
import { startStandaloneServer } from "@apollo/server/standalone";
import { buildSubgraphSchema } from "@apollo/subgraph";
import { createClient } from "@redis/client";
import DataLoader from "dataloader";
import { GraphQLScalarType, parse } from "graphql";

const [port, socketPath] = process.argv.slice(2);
const valkey = createClient({ socket: { path: socketPath } });
await valkey.connect();

const blobs = async (keys) =>
  keys.length === 0 ? [] : (await valkey.mGet(keys)).map((blob) => (blob === null ? null : JSON.parse(blob)));
const sessionLoader = () => new DataLoader((ids) => blobs(ids.map((id) => `session:${id}`)), { maxBatchSize: 1000 });

const resolvers = {
  // A GraphQL Int ends at 32 bits; epochs do not.
  Long: new GraphQLScalarType({ name: "Long", serialize: Number }),
  Query: {
    session: (_, { ref }, { sessions }) => sessions.load(ref.id),
  },
  Session: {
    __resolveReference: ({ id }, { sessions }) => sessions.load(id),
    tiles: async ({ id }, { first }) => {
      const tileIds = await valkey.lRange(`session:${id}:tiles`, 0, first - 1);
      const tiles = await blobs(tileIds.map((tileId) => `tile:${tileId}`));
      return { edges: tiles.map((node) => ({ node })) };
    },
  },
};

const typeDefs = parse(readFileSync(new URL("../schema.graphql", import.meta.url), "utf8"));
const server = new ApolloServer({ schema: buildSubgraphSchema([{ typeDefs, resolvers }]) });
await startStandaloneServer(server, {
  listen: { host: "127.0.0.1", port: Number(port) },
  context: async () => ({ sessions: sessionLoader() }),
});
