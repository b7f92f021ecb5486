// Serves the React page and the Next.js route of `examples/` on a free port, whose address is the first line of output.
// Usage: node serve.mjs FOLDER, where FOLDER has index.html, page.js and route.js.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
const { POST } = await import(pathToFileURL(join(folder, "route.js")).href);
const FILES = { "/": ["index.html", "text/html"], "/page.js": ["page.js", "text/javascript"] };

/** The response of the route, called as Next.js does. */
async function routed(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const address = `http://${request.headers.host}${request.url}`;
  return POST(new Request(address, { method: "POST", headers: request.headers, body: Buffer.concat(chunks) }));
}

const server = createServer(async (request, response) => {
  if (request.method === "POST" && request.url === "/api/images") {
    const made = await routed(request);
    response.writeHead(made.status, Object.fromEntries(made.headers)).end(await made.text());
  } else if (request.url in FILES) {
    const [name, type] = FILES[request.url];
    response.writeHead(200, { "Content-Type": type }).end(await readFile(join(folder, name)));
  } else {
    response.writeHead(404).end();
  }
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
