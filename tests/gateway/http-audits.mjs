// Runs graphql-http's audits of GraphQL over HTTP against a server, and prints what came of each as one JSON list.
//
//   node http-audits.mjs http://127.0.0.1:8000/graphql
import { serverAudits } from "graphql-http";

const audits = serverAudits({ url: process.argv[2] });
const results = [];
for (const audit of audits) {
  const { status, reason } = await audit.fn();
  results.push({ id: audit.id, name: audit.name, status, reason });
}
console.log(JSON.stringify(results));
