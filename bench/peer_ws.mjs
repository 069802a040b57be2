// peer_ws.mjs - WebSocket echo on the npm package ws, which has to be installed beside this file
//
//     npm install ws && node peer_ws.mjs 8080
import { WebSocketServer } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2] ?? 8080), backlog: 4096, perMessageDeflate: false, clientTracking: false });
server.on("connection", (socket) => socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary })));
