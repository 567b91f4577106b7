// SPDX-License-Identifier: Apache-2.0
// HTTP and plain connections by node, which web.py has for Python:
//
//     web.js http|net PORT|PATH        serves, until a signal ends it
//     web.js ask|echo PORT|PATH SEED   random bodies by many connections; by `ask` each is to come back turned round
"use strict";
const crypto = require("crypto");
const http = require("http");
const net = require("net");

const [what, address, seed] = process.argv.slice(2);
const CONNECTIONS = 20, REQUESTS = 15, SIZES = [0, 1, 700, 9000, 65536, 70001, 400000];

// The same bytes for the same words.
function bytes(words, size) {
	const key = crypto.createHash("sha256").update(words).digest();
	return crypto.createCipheriv("aes-256-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(size));
}

function sizeOf(words) {
	return SIZES[crypto.createHash("sha256").update(words).digest()[0] % SIZES.length];
}

function readAll(stream, done) {
	const parts = [];
	stream.on("data", (part) => parts.push(part));
	stream.on("end", () => done(Buffer.concat(parts)));
}

function serve() {
	const server = what === "http" ?
		http.createServer((request, response) =>
			readAll(request, (body) => response.end(body.reverse()))) :
		net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
	server.listen(isNaN(address) ? address : { port: +address, host: "127.0.0.1" });
	process.on("SIGTERM", () => process.exit(0));
}

function ask(agent, name, left, done) {
	if (!left)
		return done();
	const body = bytes(name + left, sizeOf(name + left));
	const options = { host: "127.0.0.1", port: address, method: "POST", agent,
		headers: { "Content-Length": body.length } };
	const request = http.request(options, (response) => readAll(response, (answer) => {
		if (!answer.equals(body.reverse()))
			throw new Error(`${name}, ${left}: ${answer.length} bytes came back wrong`);
		ask(agent, name, left - 1, done);
	}));
	request.end(body);
}

function echo(name, done) {
	const socket = net.connect(isNaN(address) ? address : { port: +address, host: "127.0.0.1" });
	const all = [];
	for (let i = 0; i < REQUESTS; i++)
		all.push(bytes(name + i, sizeOf(name + i)));
	readAll(socket, (answer) => {
		if (!answer.equals(Buffer.concat(all)))
			throw new Error(`${name}: ${answer.length} bytes came back wrong`);
		done();
	});
	// Half of them wait until what they have sent is gone, half do not.
	const send = (i) => {
		if (i === REQUESTS)
			socket.end();
		else if (name.length % 2)
			socket.write(all[i], () => send(i + 1));
		else
			socket.write(all[i]), send(i + 1);
	};
	socket.setNoDelay(true);
	send(0);
}

function askAll() {
	const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS / 2 });
	let left = CONNECTIONS;
	const done = () => {
		if (--left)
			return;
		agent.destroy();
		console.log(`${CONNECTIONS} are right`);
	};
	for (let i = 0; i < CONNECTIONS; i++) {
		const name = `${seed} ${i} `;
		what === "ask" ? ask(agent, name, REQUESTS, done) : echo(name, done);
	}
}

what === "http" || what === "net" ? serve() : askAll();
