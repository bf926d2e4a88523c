// node-postgres against the port: text formats, named statements, cursors, COPY streams, its pool.
'use strict';

const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { Client, Pool } = require('pg');
const { from: copyFrom, to: copyTo } = require('pg-copy-streams');
const QueryStream = require('pg-query-stream');
const { url, singleUrl, check, annotated, withPassword, main, assert } = require('./checks');

async function connected(target, use) {
  const client = new Client({ connectionString: target });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

async function fails(promise, code) {
  try {
    await promise;
  } catch (error) {
    assert.equal(error.code, code);
    return error;
  }
  throw new Error(`expected SQLSTATE ${code}, but there was no error`);
}

const scalar = async (client, sql, values) => Object.values((await client.query(sql, values)).rows[0])[0];

check('connect_scram_tls', () => connected(url, async (client) => {
  assert.equal(client.connection.stream.encrypted, true);
  assert.equal(client.connection.stream.authorized, true);
  assert.equal(await scalar(client, 'SELECT current_user'), 'app');
}));

check('scram_channel_binding', async () => {
  const client = new Client({ connectionString: url, enableChannelBinding: true });
  await client.connect();
  assert.equal(client.saslSession, null);
  assert.equal(await scalar(client, 'SELECT 1'), 1);
  await client.end();
});

check('wrong_password_refused', () => fails(connected(withPassword(url, 'not-it'), async () => {}), '28P01'));

check('types_text', () => connected(url, async (client) => {
  const values = {
    num: '12345678901234567890.000000000123',
    bytes: Buffer.from(Array.from({ length: 256 }, (_, at) => at)),
    at: new Date('2024-02-29T23:59:59.123Z'),
    flag: true,
    big: '-9223372036854775808',
    real8: 0.1,
    uid: 'c0ffee00-0000-4000-8000-000000000001',
    ints: [1, null, 3],
    texts: ['a"b', 'c,d', '', 'NULL', 'é'],
    doc: { a: [1, 2.5, null] },
    mood: 'Very Keen',
    moods: '{calm,NULL}',
    nothing: null,
  };
  const names = Object.keys(values);
  const marks = names.map((_, at) => `$${at + 1}`);
  const sql = `INSERT INTO types (${names}) VALUES (${marks}) RETURNING ${names}`;
  const { rows } = await client.query(sql, Object.values(values));
  assert.deepEqual({ ...rows[0] }, values);
}));

check('types_binary', () => connected(url, async (client) => {
  // The driver's own binary parsers cover these types, and no negative integers.
  const sql = 'SELECT $1::int8 AS big, $2::int4 AS small, $3::text AS words, $4::bool AS flag';
  const { rows } = await client.query({ text: sql, values: ['7', 70000, 'é', true], binary: true });
  assert.deepEqual({ ...rows[0], big: String(rows[0].big) }, { big: '7', small: 70000, words: 'é', flag: true });
}));

check('prepared_reuse', async () => {
  const clients = await Promise.all(Array.from({ length: 9 }, async () => {
    const client = new Client({ connectionString: url });
    await client.connect();
    return client;
  }));
  for (let turn = 0; turn < 4; turn += 1) {
    await Promise.all(clients.map(async (client, number) => {
      const text = `SELECT $1::int + ${number % 3} AS sum, title FROM books WHERE id = $2`;
      const { rows } = await client.query({ name: 'the same name', text, values: [turn, 4] });
      assert.deepEqual({ ...rows[0] }, { sum: turn + (number % 3), title: 'Small Gods' });
    }));
  }
  await Promise.all(clients.map((client) => client.end()));
});

check('transaction_and_savepoint', () => connected(url, async (client) => {
  await client.query('DELETE FROM scratch');
  await client.query('BEGIN');
  await client.query("INSERT INTO scratch VALUES (1, 'kept')");
  await client.query('SAVEPOINT here');
  await fails(client.query("INSERT INTO scratch VALUES (1, 'twice')"), '23505');
  await client.query('ROLLBACK TO here');
  await client.query("INSERT INTO scratch VALUES (3, 'kept')");
  await client.query('COMMIT');
  assert.deepEqual(await scalar(client, 'SELECT array_agg(id ORDER BY id) FROM scratch'), [1, 3]);
}));

check('error_then_usable', () => connected(url, async (client) => {
  await fails(client.query('SELECT 1 / $1::int', [0]), '22012');
  const error = await fails(client.query('SELECT nope FROM books'), '42703');
  assert.equal(error.position, '8');
  await fails(client.query({ name: 'broken', text: 'SELECT nope', values: [] }), '42703');
  assert.equal(await scalar(client, 'SELECT 1'), 1);
}));

check('several_statements_in_one_query', () => connected(url, async (client) => {
  const results = await client.query('SELECT 1 AS a; SELECT 2 AS b; INSERT INTO scratch SELECT 900 WHERE false');
  assert.deepEqual(results.map((result) => result.command), ['SELECT', 'SELECT', 'INSERT']);
}));

check('queries_queued_without_waiting', () => connected(url, async (client) => {
  const sums = await Promise.all(Array.from({ length: 100 }, (_, at) => scalar(client, 'SELECT $1::int * 2', [at])));
  assert.deepEqual(sums, Array.from({ length: 100 }, (_, at) => at * 2));
}));

check('copy_in_and_out', () => connected(url, async (client) => {
  await client.query('DELETE FROM scratch');
  const lines = Array.from({ length: 20000 }, (_, at) => `${at}\trow ${at} é\n`);
  await pipeline(Readable.from(lines), client.query(copyFrom('COPY scratch FROM STDIN')));
  const out = [];
  for await (const chunk of client.query(copyTo('COPY (SELECT * FROM scratch ORDER BY id) TO STDOUT'))) out.push(chunk);
  assert.equal(Buffer.concat(out).toString(), lines.join(''));
  await client.query('DELETE FROM scratch');
  await fails(pipeline(Readable.from(['bad\n']), client.query(copyFrom('COPY scratch FROM STDIN'))), '22P02');
  assert.equal(await scalar(client, 'SELECT count(*)::int FROM scratch'), 0);
}));

check('portal_with_row_limit', () => connected(url, async (client) => {
  const stream = client.query(new QueryStream('SELECT n FROM generate_series(1, $1::int) AS n', [1000], { batchSize: 37 }));
  let sum = 0;
  for await (const row of stream) sum += row.n;
  assert.equal(sum, 500500);
  assert.equal(await scalar(client, 'SELECT 1'), 1);
}));

check('portal_left_half_way', () => connected(url, async (client) => {
  const stream = client.query(new QueryStream('SELECT n FROM generate_series(1, 100000) AS n', [], { batchSize: 10 }));
  for await (const row of stream) if (row.n === 25) break;
  assert.equal(await scalar(client, 'SELECT 1'), 1);
}));

check('cancel', () => connected(url, async (client) => {
  const began = Date.now();
  const other = new Client({ connectionString: url });
  const sleeping = new (require('pg').Query)('SELECT pg_sleep(30)');
  const over = new Promise((resolve) => sleeping.once('error', resolve));
  client.query(sleeping);
  setTimeout(() => other.cancel(client, sleeping), 300);
  assert.equal((await over).code, '57014');
  assert.ok(Date.now() - began < 5000, 'the cancel was slow');
  assert.equal(await scalar(client, 'SELECT 1'), 1);
}));

check('settings_apart', () => connected(singleUrl, (a) => connected(singleUrl, async (b) => {
  await a.query('SET search_path = tenant_a');
  await b.query('SET search_path = tenant_b');
  for (let turn = 0; turn < 3; turn += 1) {
    for (const [client, owner] of [[a, 'a'], [b, 'b']]) {
      const { rows } = await client.query({ name: 'secret', text: 'SELECT owner FROM secrets' });
      assert.equal(rows[0].owner, owner);
    }
  }
})));

check('listen_notify', () => connected(url, (listener) => connected(url, async (speaker) => {
  const heard = new Promise((resolve) => listener.once('notification', resolve));
  await listener.query('LISTEN news');
  await speaker.query("SELECT pg_notify('news', 'hello')");
  assert.equal((await heard).payload, 'hello');
})));

check('more_clients_than_connections', async () => {
  const pool = new Pool({ connectionString: url, max: 12 });
  await Promise.all(Array.from({ length: 60 }, async (_, at) => {
    const { rows } = await pool.query({ name: 'pooled', text: 'SELECT $1::int AS at, pg_sleep(0.01)', values: [at] });
    assert.equal(rows[0].at, at);
  }));
  await pool.end();
});

annotated('include', () => connected(url, async (client) => {
  const sql = '/* @include(books(order: id)) */ SELECT id, name FROM authors WHERE id = ANY($1) ORDER BY id';
  for (const query of [{ text: sql }, { text: sql, name: 'include' }, { text: sql, name: 'include' }]) {
    const { rows } = await client.query({ ...query, values: [[2, 4]] });
    assert.deepEqual(rows.map((row) => row.books.map((book) => book.title)), [['Small Gods', 'Mort'], []]);
  }
  const { rows } = await client.query('SELECT id FROM books WHERE id = 4 -- @include(publisher)');
  assert.equal(rows[0].publisher.city, 'London');
}));

annotated('include_of_nothing_known', () => connected(url, async (client) => {
  const error = await client.query('/* @include(boks) */ SELECT id FROM authors').then(() => null, (thrown) => thrown);
  assert.ok(['42703', '42P01'].includes(error?.code), `SQLSTATE ${error?.code}`);
  assert.equal(await scalar(client, 'SELECT 1'), 1);
}));

annotated('upsert', () => connected(url, async (client) => {
  const sql = '/* @upsert(email) */ INSERT INTO authors (name, email) VALUES ($1, $2) RETURNING id';
  await client.query('BEGIN');
  const first = await scalar(client, sql, ['First', 'node@example.org']);
  const second = await scalar(client, sql, ['Second', 'node@example.org']);
  assert.equal(second, first);
  assert.equal(await scalar(client, 'SELECT name FROM authors WHERE id = $1', [first]), 'Second');
  await client.query('ROLLBACK');
}));

main();
