// Says its version, on the socket that systemd passes as file descriptor 3.
const http = require("node:http");

const server = http.createServer((request, response) => {
  response.setHeader("Content-Type", "text/plain");
  response.end(`node, version ${process.env.VERSION}\n`);
});
server.listen({ fd: 3 });
