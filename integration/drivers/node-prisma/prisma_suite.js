// Prisma against the port, over its adapter for node-postgres. Annotations go by raw queries, and, for
// the statements that Prisma writes itself, by the client that its adapter is given: Prisma's own
// comments (`comments`, sqlcommenter) escape `@`.
'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const { readFileSync } = require('node:fs');
const { PrismaPg } = require('@prisma/adapter-pg');
const { PrismaClient, Prisma } = require('@prisma/client');
const { Client, Pool } = require('pg');
const { url, singleUrl, check, annotated, withPassword, main, assert } = require('../node/checks');

const notes = new AsyncLocalStorage();

// Puts the annotation in force before every statement.
class AnnotatingClient extends Client {
  query(config, ...rest) {
    const note = notes.getStore();
    if (note && config?.text) return super.query({ ...config, text: `/* ${note} */ ${config.text}` }, ...rest);
    return super.query(config, ...rest);
  }
}

async function prisma(target, use, { max = 3, adapter = {} } = {}) {
  const pool = new Pool({
    connectionString: target.replace(/\?.*/, ''),
    ssl: { ca: readFileSync(process.env.TWINPORT_TEST_CA), rejectUnauthorized: true },
    max,
    Client: AnnotatingClient,
  });
  const db = new PrismaClient({ adapter: new PrismaPg(pool, adapter) });
  try {
    return await use(db, pool);
  } finally {
    await db.$disconnect();
    await pool.end();
  }
}

async function fails(promise, code) {
  try {
    await promise;
  } catch (error) {
    assert.equal(error.code, code, error.message);
    return error;
  }
  throw new Error(`expected ${code}, but there was no error`);
}

check('connect_scram_tls', () => prisma(url, async (db, pool) => {
  assert.deepEqual(await db.$queryRaw`SELECT current_user::text AS who`, [{ who: 'app' }]);
  const client = await pool.connect();
  assert.equal(client.connection.stream.authorized, true);
  client.release();
}));

check('wrong_password_refused', () => fails(prisma(withPassword(url, 'not-it'), (db) => db.author.count()), 'P1000'));

check('types_round_trip', () => prisma(url, async (db) => {
  const values = {
    num: new Prisma.Decimal('12345678901234567890.000000000123'),
    bytes: Uint8Array.from({ length: 256 }, (_, at) => at),
    at: new Date('2024-02-29T23:59:59.123Z'),
    day: new Date('2024-02-29T00:00:00Z'),
    flag: true,
    big: -9223372036854775808n,
    real8: 0.1,
    uid: 'c0ffee00-0000-4000-8000-000000000001',
    ints: [1, -2, 3],
    texts: ['a"b', 'c,d', '', 'NULL', 'é'],
    doc: { a: [1, 2.5, null] },
    mood: 'veryKeen',
    moods: ['calm', 'veryKeen'],
    nothing: null,
  };
  const made = await db.types.create({ data: values });
  const { id, ...got } = await db.types.findUniqueOrThrow({ where: { id: made.id } });
  assert.equal(got.num.toFixed(), values.num.toFixed());
  assert.deepEqual({ ...got, num: null, bytes: [...got.bytes] }, { ...values, num: null, bytes: [...values.bytes] });
  assert.equal(await db.types.count({ where: { id, big: values.big, at: values.at, mood: 'veryKeen', ints: { has: -2 } } }), 1);
  await db.types.delete({ where: { id } });
}));

check('models_and_relations', () => prisma(url, async (db) => {
  const author = await db.author.findUnique({
    where: { email: 'terry@example.org' },
    include: { pupils: true, books: { orderBy: { id: 'asc' }, include: { publisher: true, tags: { include: { tag: true }, orderBy: { tagId: 'asc' } } } } },
  });
  assert.deepEqual(author.books.map((book) => [book.title, book.publisher.city]), [['Small Gods', 'London'], ['Mort', 'London']]);
  assert.deepEqual(author.books[0].tags.map(({ tag }) => tag.name), ['classic', 'funny']);
  assert.deepEqual(author.pupils.map((pupil) => pupil.name), ["Neil O'Hara"]);
  const page = await db.book.findMany({ where: { author: { name: { startsWith: 'Ursula' } } }, orderBy: { id: 'asc' }, skip: 1, take: 1, select: { title: true } });
  assert.deepEqual(page, [{ title: 'The Dispossessed' }]);
  const groups = await db.book.groupBy({ by: ['authorId'], _count: true, _sum: { price: true }, orderBy: { authorId: 'asc' } });
  assert.deepEqual(groups.map((group) => [group.authorId, group._count, String(group._sum.price)]), [[1, 3, '22.49'], [2, 2, '15.5'], [3, 1, '10']]);
}));

check('prepared_reuse', async () => {
  const named = { adapter: { statementNameGenerator: ({ sql }) => `s${sql.length}` }, max: 1 };
  await Promise.all(Array.from({ length: 9 }, () => prisma(url, async (db) => {
    for (let id = 1; id <= 6; id += 1) assert.equal((await db.book.findFirst({ where: { id } })).id, id);
  }, named)));
});

check('nested_write', () => prisma(url, async (db) => {
  const made = await db.author.create({
    data: { name: 'Nested', email: 'nested@example.org', books: { create: [{ title: 'One', price: '1.50' }, { title: 'Two' }] } },
    include: { books: { orderBy: { title: 'asc' } } },
  });
  assert.deepEqual(made.books.map((book) => [book.title, book.price && String(book.price)]), [['One', '1.5'], ['Two', null]]);
  await db.book.deleteMany({ where: { authorId: made.id } });
  await db.author.delete({ where: { id: made.id } });
}));

check('transaction_and_error', () => prisma(url, async (db) => {
  await db.scratch.deleteMany();
  await fails(db.$transaction(async (inner) => {
    await inner.scratch.create({ data: { id: 1, body: 'undone' } });
    await inner.scratch.create({ data: { id: 1, body: 'twice' } });
  }), 'P2002');
  await fails(db.$transaction([db.scratch.create({ data: { id: 2 } }), db.scratch.create({ data: { id: 2 } })]), 'P2002');
  assert.equal(await db.scratch.count(), 0);
  const level = await db.$transaction((inner) => inner.$queryRaw`SHOW transaction_isolation`, { isolationLevel: 'Serializable' });
  assert.deepEqual(level, [{ transaction_isolation: 'serializable' }]);
  const [, count] = await db.$transaction([db.scratch.create({ data: { id: 3 } }), db.scratch.count()]);
  assert.equal(count, 1);
  await db.scratch.deleteMany();
}));

check('error_then_usable', () => prisma(url, async (db) => {
  const error = await fails(db.$queryRaw`SELECT nope FROM books`, 'P2010');
  assert.match(error.message, /42703/);
  assert.deepEqual(await db.$queryRaw`SELECT 1 AS one`, [{ one: 1 }]);
}, { max: 1 }));

check('create_many', () => prisma(url, async (db) => {
  await db.scratch.deleteMany();
  // More parameters than one statement may have: Prisma cuts it in several, in one transaction.
  const rows = Array.from({ length: 17000 }, (_, id) => ({ id, body: `row ${id} é` }));
  assert.deepEqual(await db.scratch.createMany({ data: rows }), { count: 17000 });
  assert.deepEqual((await db.scratch.createManyAndReturn({ data: [{ id: -1 }, { id: 5 }], skipDuplicates: true })).map((row) => row.id), [-1]);
  assert.deepEqual(await db.scratch.deleteMany(), { count: 17001 });
}));

check('own_upsert', () => prisma(url, async (db) => {
  const ids = [];
  for (const name of ['First', 'Second']) {
    const person = { name, email: 'prisma-own@example.org' };
    ids.push((await db.author.upsert({ where: { email: person.email }, create: person, update: { name } })).id);
  }
  assert.equal(ids[0], ids[1]);
  assert.equal((await db.author.delete({ where: { id: ids[0] } })).name, 'Second');
}));

check('settings_apart', () => prisma(singleUrl, (a) => prisma(singleUrl, async (b) => {
  await a.$executeRaw`SET search_path = tenant_a`;
  await b.$executeRaw`SET search_path = tenant_b`;
  for (let turn = 0; turn < 3; turn += 1) {
    assert.deepEqual(await a.$queryRaw`SELECT owner FROM secrets`, [{ owner: 'a' }]);
    assert.deepEqual(await b.$queryRaw`SELECT owner FROM secrets`, [{ owner: 'b' }]);
  }
}, { max: 1 }), { max: 1 }));

check('more_clients_than_connections', () => prisma(url, async (db) => {
  const found = await Promise.all(Array.from({ length: 100 }, (_, at) => db.book.findMany({ where: { id: { lte: 1 + at % 6 } } })));
  assert.deepEqual(found.map((books) => books.length), Array.from({ length: 100 }, (_, at) => 1 + at % 6));
}, { max: 12 }));

annotated('include_by_raw', () => prisma(url, async (db) => {
  const rows = await db.$queryRaw`/* @include(books(order: id)) */ SELECT id, name FROM authors WHERE id = ${2}`;
  assert.deepEqual(rows.map(({ id, name }) => [id, name]), [[2, 'Terry Pratchett']]);
  assert.deepEqual(rows[0].books.map((book) => book.title), ['Small Gods', 'Mort']);
}));

annotated('include_of_nothing_known', () => prisma(url, async (db) => {
  const error = await fails(db.$queryRaw`/* @include(boks) */ SELECT id FROM authors`, 'P2010');
  assert.match(error.message, /42703.*boks/s);
  assert.equal(await db.author.count({ where: { id: 1 } }), 1);
}, { max: 1 }));

annotated('upsert_by_raw', () => prisma(url, async (db) => {
  const told = [];
  for (const name of ['First', 'Second']) {
    const [row] = await db.$queryRaw`/* @upsert(email, inserted: is_new) */
      INSERT INTO authors (name, email) VALUES (${name}, 'prisma@example.org') RETURNING id`;
    told.push(row);
  }
  assert.equal(told[0].id, told[1].id);
  assert.deepEqual(told.map((row) => row.is_new), [true, false]);
  assert.equal((await db.author.delete({ where: { id: told[0].id } })).name, 'Second');
}));

annotated('upsert_by_client', () => prisma(url, async (db) => {
  const ids = [];
  for (const name of ['First', 'Second']) {
    // A query runs when it is awaited, so it is awaited where the annotation is in force.
    const data = { name, email: 'prisma@example.org' };
    ids.push((await notes.run('@upsert(email)', async () => await db.author.create({ data }))).id);
  }
  assert.equal(ids[0], ids[1]);
  assert.equal((await db.author.delete({ where: { id: ids[0] } })).name, 'Second');
}));

main();
