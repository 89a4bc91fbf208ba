// How the servers of this folder begin and end: each says where it listens, and stops with the process that started it.

/** Prints the line the starter waits for. */
export function announce(url) {
  console.log(`listening on ${url}`);
}

/** Ends this process when its standard input closes, so a starter that is killed leaves nothing behind. */
export function endWithStarter() {
  process.stdin.on("end", () => process.exit(0));
  process.stdin.resume();
}
