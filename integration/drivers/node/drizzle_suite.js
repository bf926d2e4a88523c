// Drizzle over node-postgres against the port. Annotations go before a statement that its builders have
// made, by its `sql` template.
'use strict';

const { readFileSync } = require('node:fs');
const { and, eq, gt, relations, sql, sum } = require('drizzle-orm');
const { drizzle } = require('drizzle-orm/node-postgres');
const { bigint, boolean, customType, integer, jsonb, numeric, pgEnum, pgTable, serial, text, timestamp, uuid } = require('drizzle-orm/pg-core');
const { Pool } = require('pg');
const { url, singleUrl, check, annotated, main, assert } = require('./checks');

const authors = pgTable('authors', {
  id: serial('id').primaryKey(),
  name: text('name').notNull(),
  email: text('email').notNull().unique(),
});
const books = pgTable('books', {
  id: serial('id').primaryKey(),
  authorId: integer('author_id').notNull(),
  title: text('title').notNull(),
  price: numeric('price'),
});
const scratch = pgTable('scratch', { id: integer('id').primaryKey(), body: text('body') });
const types = pgTable('types', {
  id: serial('id').primaryKey(),
  num: numeric('num'),
  bytes: customType({ dataType: () => 'bytea' })('bytes'),
  at: timestamp('at', { withTimezone: true }),
  flag: boolean('flag'),
  big: bigint('big', { mode: 'bigint' }),
  uid: uuid('uid'),
  ints: integer('ints').array(),
  texts: text('texts').array(),
  doc: jsonb('doc'),
  mood: pgEnum('mood', ['calm', 'keen', 'Very Keen'])('mood'),
  nothing: text('nothing'),
});
const schema = {
  authors,
  books,
  authorsRelations: relations(authors, ({ many }) => ({ books: many(books) })),
  booksRelations: relations(books, ({ one }) => ({ author: one(authors, { fields: [books.authorId], references: [authors.id] }) })),
};

async function database(target, use, max = 3) {
  const ssl = { ca: readFileSync(process.env.TWINPORT_TEST_CA), rejectUnauthorized: true };
  const pool = new Pool({ connectionString: target.replace(/\?.*/, ''), ssl, max });
  try {
    return await use(drizzle(pool, { schema }));
  } finally {
    await pool.end();
  }
}

async function fails(promise, code) {
  await assert.rejects(promise, (error) => (error.cause ?? error).code === code);
}

check('types_round_trip', () => database(url, async (db) => {
  const values = {
    num: '12345678901234567890.000000000123',
    bytes: Buffer.from(Array.from({ length: 256 }, (_, at) => at)),
    at: new Date('2024-02-29T23:59:59.123Z'),
    flag: true,
    big: -9223372036854775808n,
    uid: 'c0ffee00-0000-4000-8000-000000000001',
    ints: [1, -2, 3],
    texts: ['a"b', 'c,d', '', 'NULL', 'é'],
    doc: { a: [1, 2.5, null] },
    mood: 'Very Keen',
    nothing: null,
  };
  const [{ id, ...got }] = await db.insert(types).values(values).returning();
  assert.deepEqual(got, values);
  await db.delete(types).where(eq(types.id, id));
}));

check('queries_and_relations', () => database(url, async (db) => {
  const found = await db.query.authors.findMany({ where: eq(authors.id, 2), with: { books: { orderBy: books.id, columns: { title: true } } } });
  assert.deepEqual(found[0].books, [{ title: 'Small Gods' }, { title: 'Mort' }]);
  const totals = await db.select({ name: authors.name, total: sum(books.price) }).from(authors)
    .innerJoin(books, and(eq(books.authorId, authors.id), gt(books.price, '8'))).groupBy(authors.id).orderBy(authors.id);
  assert.deepEqual(totals.map((row) => row.total), ['22.49', '10.00']);
}));

check('prepared_reuse', () => Promise.all(Array.from({ length: 9 }, () => database(url, async (db) => {
  const query = db.select().from(books).where(eq(books.id, sql.placeholder('id'))).prepare('book_by_id');
  for (let id = 1; id <= 6; id += 1) assert.equal((await query.execute({ id }))[0].id, id);
}, 1))));

check('transaction_and_savepoint', () => database(url, async (db) => {
  await db.delete(scratch);
  await db.transaction(async (outer) => {
    await outer.insert(scratch).values({ id: 1 });
    await fails(outer.transaction(async (inner) => {
      await inner.insert(scratch).values({ id: 2 });
      await inner.insert(scratch).values({ id: 1 });
    }), '23505');
    await outer.insert(scratch).values({ id: 3 });
  });
  assert.deepEqual((await db.select().from(scratch).orderBy(scratch.id)).map((row) => row.id), [1, 3]);
  await fails(db.execute(sql`SELECT nope FROM books`), '42703');
  await db.delete(scratch);
}));

check('settings_apart', () => database(singleUrl, (a) => database(singleUrl, async (b) => {
  await a.execute(sql`SET search_path = tenant_a`);
  await b.execute(sql`SET search_path = tenant_b`);
  for (let turn = 0; turn < 3; turn += 1) {
    assert.deepEqual((await a.execute(sql`SELECT owner FROM secrets`)).rows, [{ owner: 'a' }]);
    assert.deepEqual((await b.execute(sql`SELECT owner FROM secrets`)).rows, [{ owner: 'b' }]);
  }
}, 1), 1));

annotated('include_by_template', () => database(url, async (db) => {
  const query = db.select({ id: authors.id, name: authors.name }).from(authors).where(eq(authors.id, 2));
  const { rows } = await db.execute(sql`/* @include(books(order: id)) */ ${query.getSQL()}`);
  assert.deepEqual(rows.map(({ id, name }) => [id, name]), [[2, 'Terry Pratchett']]);
  assert.deepEqual(rows[0].books.map((book) => book.title), ['Small Gods', 'Mort']);
}));

annotated('upsert_by_template', () => database(url, async (db) => {
  await fails(db.transaction(async (inner) => {
    const ids = [];
    for (const name of ['First', 'Second']) {
      const insert = inner.insert(authors).values({ name, email: 'drizzle@example.org' }).returning({ id: authors.id });
      ids.push((await inner.execute(sql`/* @upsert(email) */ ${insert.getSQL()}`)).rows[0].id);
    }
    assert.equal(ids[0], ids[1]);
    const found = await inner.select().from(authors).where(eq(authors.id, ids[0]));
    assert.equal(found[0].name, 'Second');
    await inner.execute(sql`SELECT 1 / 0`);
  }), '22012');
}));

main();
