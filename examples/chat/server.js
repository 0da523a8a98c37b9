// What server.py does, with ws of npm or Debian: `command = ["node", "server.js"]`.
const fs = require("node:fs");
const http = require("node:http");
const { WebSocketServer } = require("ws");

const server = http.createServer();
const clients = new WebSocketServer({ server }).on("connection", (client) => {
  client.on("message", (message) => {
    fs.appendFileSync(`${process.env.STATE_DIRECTORY}/messages`, `${message}\n`);
    client.send(process.env.VERSION);
  });
}).clients;
process.on("SIGUSR2", () => clients.forEach((client) => client.close(1012)));
server.listen({ fd: 3 });
