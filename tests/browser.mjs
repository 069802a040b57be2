#!/usr/bin/env node
// browser.mjs - the examples as a browser sees them: Chromium without a window, driven by playwright-core.
//
//     tests/browser.mjs build/examples               what `make test` runs: on epoll, then on io_uring
//     tests/browser.mjs build/examples chat epoll    only tests with that word in their name, only there
//     tests/browser.mjs --ready                      0, or 1 and what is missing
//
// A test is a function whose name is a claim. Servers listen on 127.0.0.1, port 0. Last line: N passed, N failed.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

const PATIENCE = 15000;              // ms until something that should come at once is missing; generous, for sanitizers and busy machines
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(p => fs.existsSync(p));
const root = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), '..');

function playwright() {
    return createRequire(path.join(root, 'build/node/'))('playwright-core').chromium;
}

/* ---- programs ---- */

const running = new Set();
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'chopin-browser-'));
let binaries, backend;

/* Starts an example; gives { port, url, stop() }. */
async function start(program, ...words) {
    const child = spawn(path.join(binaries, program), words, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, CHOPIN_BACKEND: backend } });
    let log = '';
    running.add(child);
    const ended = new Promise(resolve => child.on('exit', (code, signal) => { running.delete(child); resolve(signal ?? code); }));
    const port = await within(`${program} listens`, new Promise((resolve, reject) => {
        child.stderr.on('data', data => {
            log += data;
            const hit = /listening on .*port (\d+)/.exec(log);
            if (hit) resolve(Number(hit[1]));
        });
        ended.then(status => reject(new Error(`${program} ended with ${status}: ${log}`)));
    }));
    return {
        port, url: `http://127.0.0.1:${port}`,
        async stop() {
            child.kill('SIGTERM');
            assert.equal(await within(`${program} stops`, ended), 0, log);
            assert.doesNotMatch(log, /Sanitizer|runtime error:/);
        },
    };
}

function within(what, promise) {
    let timer;
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${what}: not within ${PATIENCE} ms`)), PATIENCE); });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/* Stands between browser and server: keeps what is asked, cuts connections, lets new ones wait. */
async function proxy(port) {
    const pairs = new Set(), asked = [];
    let gate = Promise.resolve();
    const server = net.createServer(async front => {
        const pair = [front, net.connect(port, '127.0.0.1')];
        pairs.add(pair);
        for (const s of pair) s.on('error', () => {}).on('close', () => { pair.forEach(s => s.destroy()); pairs.delete(pair); });
        await gate;
        front.on('data', data => asked.push(data.toString('latin1')));
        front.pipe(pair[1]).pipe(front);
    });
    await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
    return {
        url: `http://127.0.0.1:${server.address().port}`, asked,
        cut(until) { gate = until; pairs.forEach(pair => pair.forEach(s => s.destroy())); },
        close() { server.close(); this.cut(Promise.resolve()); },
    };
}

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

/* ---- files.c ---- */

async function with_folder(use) {
    const folder = fs.mkdtempSync(path.join(scratch, 'shared-'));
    const server = await start('files', folder, '--listen', '127.0.0.1:0');
    await use(server, folder);
    return server;
}

async function an_upload_shows_its_progress_and_arrives_whole(page) {
    let server, folder;
    await with_folder((s, f) => { server = s; folder = f; });
    const bytes = Buffer.alloc(3 << 20);
    for (let i = 0, x = 1; i < bytes.length; i += 4) bytes.writeUInt32LE(x = Math.imul(x, 1664525) + 1013904223 >>> 0, i);

    // A slow line, so that there is a progress to show.
    const line = await page.context().newCDPSession(page);
    await line.send('Network.enable');
    await line.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 6 << 20 });
    await page.goto(server.url);
    await page.evaluate(() => {
        window.seen = [];
        new MutationObserver(() => seen.push(bar.value)).observe(bar, { attributes: true });
    });
    await page.setInputFiles('input[type=file]', [
        { name: 'smörgås & 1.txt', mimeType: 'application/octet-stream', buffer: bytes },
        { name: '<b>small.txt', mimeType: 'text/plain', buffer: Buffer.from('small\n') },
    ]);
    for (const kept of [1, 2]) {                                               // the second time the names are taken
        await page.click('button');
        await page.waitForFunction(kept => said.textContent === '2 kept\n' && (said.textContent = 'upload ' + kept), kept);
    }
    const seen = await page.evaluate(() => seen);
    assert.ok(seen.some(v => v > 0 && v < 1), `no progress between 0 and 1: ${seen}`);
    assert.equal(seen.at(-1), 1);

    const names = fs.readdirSync(folder).filter(name => name !== '.arriving').sort();
    assert.deepEqual(names, ['2-_b_small.txt', '2-smörgås & 1.txt', '_b_small.txt', 'smörgås & 1.txt']);
    for (const name of names) assert.ok(fs.readFileSync(path.join(folder, name)).equals(name.includes('small') ? Buffer.from('small\n') : bytes), name);
    assert.deepEqual(fs.readdirSync(path.join(folder, '.arriving')), []);

    // The list shows names and nothing of theirs comes alive; what hides stays hidden; what is saved has its name again.
    names.push('<b>bold<b>');
    fs.writeFileSync(path.join(folder, names.at(-1)), '');
    await page.goto(server.url + '/save/');
    const text = await page.innerText('body');
    for (const name of names) assert.ok(text.includes(name), name);
    assert.equal(await page.locator('b').count(), 0);
    assert.ok(!text.includes('.arriving'));
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('a:text-is("smörgås & 1.txt")')]);
    assert.equal(download.suggestedFilename(), 'smörgås & 1.txt');
    assert.ok(fs.readFileSync(await download.path()).equals(bytes));
    await page.close();
    await server.stop();
}

async function an_uploaded_page_runs_no_script(page) {
    let server;
    await with_folder((s, folder) => {
        server = s;
        fs.writeFileSync(path.join(folder, 'evil.html'), '<title>evil</title><p id=p>still</p><script>p.textContent = "alive " + origin</script>');
    });
    await page.goto(server.url + '/files/evil.html');
    assert.equal(await page.innerText('#p'), 'still');
    await page.close();
    await server.stop();
}

/* A WebM of one VP8 picture a second, `second` big each by padding, with cues: the browser can find each second without the ones before it. */
function write_video(file, pictures, second) {
    const hex = text => Buffer.from(text, 'hex');
    const uint = n => { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(n)); return b; };
    const real = x => { const b = Buffer.alloc(8); b.writeDoubleBE(x); return b; };
    const head = (id, size) => { const b = uint(size); b[0] = 1; return Buffer.concat([hex(id), b]); };
    const element = (id, ...parts) => { const body = Buffer.concat(parts); return Buffer.concat([head(id, body.length), body]); };
    const SEGMENT = '18538067', INFO = '1549a966', TRACKS = '1654ae6b', CUES = '1c53bb6b', CLUSTER = '1f43b675', VOID = 'ec';

    const ebml = element('1a45dfa3', element('4286', uint(1)), element('42f7', uint(1)), element('42f2', uint(4)), element('42f3', uint(8)),
                         element('4282', Buffer.from('webm')), element('4287', uint(2)), element('4285', uint(2)));
    const info = element(INFO, element('2ad7b1', uint(1000000)), element('4489', real(pictures.length * 1000)), element('4d80', Buffer.from('t')), element('5741', Buffer.from('t')));
    const tracks = element(TRACKS, element('ae', element('d7', uint(1)), element('73c5', uint(1)), element('83', uint(1)), element('86', Buffer.from('V_VP8')),
                                           element('e0', element('b0', uint(16)), element('ba', uint(16)))));
    const cues = from => element(CUES, ...pictures.map((_, i) => element('bb', element('b3', uint(i * 1000)),
                                                           element('b7', element('f7', uint(1)), element('f1', uint(from + i * second))))));
    const first = info.length + tracks.length + cues(0).length;                // counted from the start of the segment's data
    const out = fs.openSync(file, 'w');
    fs.writeSync(out, Buffer.concat([ebml, head(SEGMENT, first + pictures.length * second), info, tracks, cues(first)]));
    const data = ebml.length + head(SEGMENT, 0).length + first;
    pictures.forEach((picture, i) => {
        const cluster = element(CLUSTER, element('e7', uint(i * 1000)), element('a3', hex('81000080'), picture));
        fs.writeSync(out, Buffer.concat([cluster, head(VOID, second - cluster.length - 9)]), 0, undefined, data + i * second);
    });
    fs.ftruncateSync(out, data + pictures.length * second);                    // the padding is a hole
    fs.closeSync(out);
    return i => data + i * second;
}

async function a_video_seeks_by_ranges(page) {
    let server, folder;
    await with_folder((s, f) => { server = s; folder = f; });
    await page.goto(server.url);
    const [red, green] = (await page.evaluate(() => ['#e00000', '#00c000'].map(colour => {   // a lossy WebP is a VP8 key frame
        const canvas = Object.assign(document.createElement('canvas'), { width: 16, height: 16 });
        const pen = canvas.getContext('2d');
        pen.fillStyle = colour;
        pen.fillRect(0, 0, 16, 16);
        return canvas.toDataURL('image/webp', 0.8).split(',')[1];
    }))).map(text => {
        const webp = Buffer.from(text, 'base64'), at = webp.indexOf('VP8 ');
        return webp.subarray(at + 8, at + 8 + webp.readUInt32LE(at + 4));
    });
    const where = write_video(path.join(folder, 'clip.webm'), Array.from({ length: 60 }, (_, i) => i < 40 ? red : green), 1 << 20);

    const replies = [];
    page.on('response', reply => { if (reply.url().endsWith('clip.webm')) replies.push(reply); });
    const colour_at = second => page.evaluate(second => new Promise((resolve, reject) => {
        const video = document.querySelector('video') ?? document.body.appendChild(Object.assign(document.createElement('video'), { muted: true, preload: 'metadata', src: '/files/clip.webm' }));
        video.onerror = () => reject(new Error('video: ' + video.error.message));
        video.onseeked = () => {
            const pen = document.createElement('canvas').getContext('2d');
            pen.drawImage(video, 0, 0);
            const [r, g] = pen.getImageData(8, 8, 1, 1).data;
            resolve({ colour: r > g ? 'red' : 'green', at: video.currentTime, duration: video.duration });
        };
        if (video.readyState) video.currentTime = second;
        else video.onloadeddata = () => { video.currentTime = second; };
    }), second);
    assert.deepEqual(await within('a seek', colour_at(1.5)), { colour: 'red', at: 1.5, duration: 60 });
    assert.deepEqual(await within('a seek', colour_at(55.5)), { colour: 'green', at: 55.5, duration: 60 });
    assert.deepEqual(await within('a seek', colour_at(20.5)), { colour: 'red', at: 20.5, duration: 60 });

    const ranges = await Promise.all(replies.map(async reply => ({ status: reply.status(), asked: (await reply.request().allHeaders()).range, sent: reply.headers()['content-range'] })));
    assert.ok(ranges.length >= 2, 'one request only');
    for (const r of ranges) {
        assert.equal(r.status, 206);
        const [, from] = /^bytes=(\d+)-/.exec(r.asked), [, sent_from, of] = /^bytes (\d+)-\d+\/(\d+)$/.exec(r.sent);
        assert.equal(sent_from, from);
        assert.equal(Number(of), where(60));
    }
    assert.ok(ranges.some(r => Number(/\d+/.exec(r.asked)) > where(40)), `none began near second 55: ${JSON.stringify(ranges)}`);
    await page.close();
    await server.stop();
}

/* ---- clock_sse.c ---- */

async function an_event_stream_goes_on_where_it_was_cut(page) {
    const server = await start('clock_sse', '--listen', '127.0.0.1:0'), line = await proxy(server.port);
    const ids = () => page.$$eval('li', items => items.map(item => Number(item.dataset.id)).reverse());
    await page.goto(line.url);
    await page.waitForFunction(() => document.querySelectorAll('li').length >= 2);
    line.cut(sleep(2100));                                                     // the clock goes on meanwhile
    const before = await ids();
    await page.waitForFunction(() => state.textContent === 'connecting again');
    await page.waitForFunction(n => document.querySelectorAll('li').length >= n && state.textContent === 'connected', before.length + 2);
    const after = await ids();
    assert.deepEqual(after, after.map((_, i) => after[0] + i), 'a second is missing or doubled');
    assert.equal(line.asked.filter(head => head.includes('GET /ticks')).length, 2);
    assert.ok(line.asked.some(head => new RegExp(`^Last-Event-ID: ${before.at(-1)}\r$`, 'mi').test(head)), 'no Last-Event-ID');
    await server.stop();                                                       // at once, though the page still listens
    line.close();
    await page.close();
}

/* ---- chat_ws.c ---- */

async function enter(page, url, name) {
    await page.goto(url);
    await page.fill('#who', name);
    await page.press('#who', 'Enter');
    await shows(page, `${name} has joined`);
}
const shows = (page, line) => page.locator('li', { hasText: line }).first().waitFor();
const lines = page => page.$$eval('li', items => items.map(item => item.textContent).reverse());

async function two_pages_chat_and_a_third_is_in_another_room(page) {
    const server = await start('chat_ws', '--listen', '127.0.0.1:0');
    const other = await page.context().newPage(), third = await page.context().newPage();
    await enter(page, server.url, 'Ada');
    await enter(other, server.url, 'Grace');
    await enter(third, server.url + '/#tea', 'Edsger');
    await shows(page, 'Grace has joined');
    for (const [from, text] of [[page, 'hello <b>'], [other, 'grüß dich 🎹'], [page, 'x'.repeat(400)]]) {
        await from.fill('#text', text);
        await from.press('#text', 'Enter');
        for (const to of [page, other]) await shows(to, text);
    }
    await third.fill('#text', 'anybody?');
    await third.press('#text', 'Enter');
    await shows(third, 'Edsger: anybody?');
    await other.close();
    await shows(page, 'Grace has left');
    assert.deepEqual(await lines(page), ['Ada has joined', 'Grace has joined', 'Ada: hello <b>', 'Grace: grüß dich 🎹', 'Ada: ' + 'x'.repeat(400), 'Grace has left']);
    assert.deepEqual(await lines(third), ['Edsger has joined', 'Edsger: anybody?']);
    await server.stop();                                                       // at once, and whoever chats is told
    await shows(page, 'closed 1001');
    await third.close();
    await page.close();
}

async function pages_of_another_site_can_neither_chat_nor_upload(page) {
    const chat = await start('chat_ws', '--listen', '127.0.0.1:0');
    let files, folder;
    await with_folder((s, f) => { files = s; folder = f; });
    await page.goto(files.url.replace('127.0.0.1', 'localhost'));              // another site than either
    const opened = await page.evaluate(url => new Promise(resolve => {
        const socket = new WebSocket(url);
        socket.onopen = () => resolve(true);
        socket.onclose = () => resolve(false);
    }), chat.url.replace('http', 'ws') + '/rooms/lobby');
    assert.equal(opened, false);
    const [refusal] = await Promise.all([page.waitForResponse(files.url + '/upload'), page.evaluate(url => {
        const form = new FormData();
        form.append('file', new File(['x'], 'x.txt'));
        return fetch(url, { method: 'POST', mode: 'no-cors', body: form }).then(() => 0);
    }, files.url + '/upload')]);
    assert.equal(refusal.status(), 403);
    assert.deepEqual(fs.readdirSync(folder), ['.arriving']);
    await page.close();
    await files.stop();
    await chat.stop();
}

/* ---- embedded.c ---- */

async function pages_baked_into_the_program_work_and_are_revalidated(page) {
    const server = await start('embedded', '127.0.0.1:0');
    const replies = [];
    page.on('response', reply => replies.push([new URL(reply.url()).pathname, reply.status()]));
    await page.goto(server.url);
    await page.waitForFunction(() => Number(document.getElementById('used').textContent) > 0);
    assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('dl')).display), 'grid');
    assert.ok(await page.evaluate(() => document.querySelector('img').naturalWidth > 0));
    await page.click('#lamp');
    await page.waitForFunction(() => document.body.classList.contains('on'));
    const assets = replies.filter(([p]) => !p.startsWith('/api/')).map(([p]) => p);
    for (const asset of ['/', '/style.css', '/lamp.svg']) assert.ok(assets.includes(asset), asset);
    await page.close();

    const again = await fetch(server.url + '/style.css'), etag = again.headers.get('etag');
    assert.equal((await again.text()), fs.readFileSync(path.join(root, 'examples/embedded/style.css'), 'utf8'));
    assert.equal((await fetch(server.url + '/style.css', { headers: { 'If-None-Match': etag } })).status, 304);
    await server.stop();
}

/* ---- running them ---- */

const tests = [an_upload_shows_its_progress_and_arrives_whole, an_uploaded_page_runs_no_script, a_video_seeks_by_ranges, an_event_stream_goes_on_where_it_was_cut,
               two_pages_chat_and_a_third_is_in_another_room, pages_of_another_site_can_neither_chat_nor_upload, pages_baked_into_the_program_work_and_are_revalidated];

/* Each in a context of its own, all at once: most of their time is waiting. */
async function run_test(browser, test) {
    const context = await browser.newContext(), page = await context.newPage(), from = Date.now();
    context.setDefaultTimeout(PATIENCE);
    const broken = [];
    context.on('weberror', error => broken.push(error.error()));
    try {
        await test(page);
        assert.deepEqual(broken, [], 'errors in the page');
    } finally {
        if (process.env.BROWSER_TIMES) console.log(`${test.name}: ${Date.now() - from} ms`);
        await context.close().catch(() => {});
    }
}

async function main(words) {
    const backends = words.filter(w => w === 'epoll' || w === 'uring'), wanted = words.filter(w => !backends.includes(w));
    const chosen = tests.filter(t => wanted.length === 0 || wanted.some(w => t.name.includes(w)));
    let passed = 0, failed = 0;
    const browser = await playwright().launch({
        executablePath: CHROMIUM,
        args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    });
    for (backend of backends.length ? backends : ['epoll', 'uring']) {
        const ends = await Promise.allSettled(chosen.map(test => run_test(browser, test)));
        ends.forEach((end, i) => {
            if (end.status === 'fulfilled') { passed++; return; }
            failed++;
            console.log(`FAILED ${chosen[i].name} (${backend})\n  ${String(end.reason?.stack ?? end.reason).replaceAll('\n', '\n  ')}`);
        });
    }
    await browser.close();
    console.log(`${passed} passed, ${failed} failed`);
    return failed ? 1 : 0;
}

function missing() {
    if (!CHROMIUM) return 'no Chromium (Debian: apt-get install chromium)';
    try { playwright(); } catch { return 'no playwright-core in build/node (tests/install.sh gets it from the npm registry)'; }
    return null;
}

let status = 1;
try {
    const why = missing();
    if (why) console.log(why);
    else if (process.argv[2] === '--ready') status = 0;
    else {
        binaries = path.resolve(process.argv[2] ?? 'build/examples');
        status = await main(process.argv.slice(3));
    }
} finally {
    for (const child of running) child.kill('SIGKILL');
    fs.rmSync(scratch, { recursive: true, force: true });
}
process.exit(status);
