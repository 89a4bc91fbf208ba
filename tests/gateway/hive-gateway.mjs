// Hive Gateway over a supergraph file: node hive-gateway.mjs supergraph.graphql
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

import { createGatewayRuntime } from "@graphql-hive/gateway-runtime";
import http from "@graphql-mesh/transport-http";
import ws from "@graphql-mesh/transport-ws";

import { announce, endWithStarter } from "./process.mjs";

const gateway = createGatewayRuntime({
  supergraph: readFileSync(process.argv[2], "utf8"),
  logging: "warn",
  transports: { http, ws },
  propagateHeaders: {
    fromClientToSubgraphs({ request }) {
      return { authorization: request.headers.get("authorization") };
    },
  },
  transportEntries: {
    "session-manager": {
      options: {
        subscriptions: {
          kind: "ws",
          // No header travels on this socket: the caller's credentials go in the connection_init payload.
          options: { connectionParams: { authorization: "{context.headers.authorization}" } },
        },
      },
    },
  },
});

const server = createServer(gateway);
server.listen(0, "127.0.0.1", () => {
  announce(`http://127.0.0.1:${server.address().port}/graphql`);
});
endWithStarter();
