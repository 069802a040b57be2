// peer_fastify.mjs - /db of the TechEmpower benchmarks on the npm packages fastify and postgres, which have to be installed beside this file
//
//     npm install fastify postgres && tests/pg.sh node peer_fastify.mjs 8080        (the server is the one of tests/pg.sh, by its unix socket)
import Fastify from "fastify";
import postgres from "postgres";

const sql = postgres({ host: process.env.CHOPIN_PG_SOCKETS, port: Number(process.env.CHOPIN_PG_PORT), user: "tester", database: "postgres", max: 2 });
const app = Fastify({ logger: false });
const schema = { response: { 200: { type: "object", properties: { id: { type: "integer" }, randomNumber: { type: "integer" } } } } };

app.get("/plaintext", (request, reply) => reply.type("text/plain").send("Hello, World!"));
app.get("/db", { schema }, async () => {
    const id = 1 + Math.floor(Math.random() * 10000);
    const [row] = await sql`select id, randomnumber from world where id = ${id}`;
    return { id: row.id, randomNumber: row.randomnumber };
});
await app.listen({ host: "127.0.0.1", port: Number(process.argv[2] ?? 8080) });
