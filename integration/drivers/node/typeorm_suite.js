// TypeORM against the port. Annotations go the way TypeORM users send comments: `comment()` of its
// query builders.
'use strict';

require('reflect-metadata');
const { DataSource, EntitySchema } = require('typeorm');
const { readFileSync } = require('node:fs');
const { url, singleUrl, check, annotated, main, assert } = require('./checks');

const Author = new EntitySchema({
  name: 'Author',
  tableName: 'authors',
  columns: {
    id: { type: 'int', primary: true, generated: true },
    name: { type: 'text' },
    email: { type: 'text', unique: true },
  },
  relations: { books: { type: 'one-to-many', target: 'Book', inverseSide: 'author' } },
});

const Book = new EntitySchema({
  name: 'Book',
  tableName: 'books',
  columns: {
    id: { type: 'int', primary: true, generated: true },
    title: { type: 'text' },
    price: { type: 'numeric', nullable: true },
  },
  relations: {
    author: { type: 'many-to-one', target: 'Author', joinColumn: { name: 'author_id' }, inverseSide: 'books' },
  },
});

async function source(target, use, more = {}) {
  const { hostname, port, username, password, pathname } = new URL(target);
  const made = new DataSource({
    type: 'postgres',
    host: hostname,
    port: Number(port),
    username,
    password,
    database: pathname.slice(1),
    ssl: { ca: readFileSync(process.env.TWINPORT_TEST_CA), rejectUnauthorized: true },
    entities: [Author, Book],
    ...more,
  });
  await made.initialize();
  try {
    return await use(made);
  } finally {
    await made.destroy();
  }
}

check('connect', () => source(url, async (db) => {
  assert.equal((await db.query('SELECT current_user AS who'))[0].who, 'app');
}));

check('repository_and_relations', () => source(url, async (db) => {
  const authors = await db.getRepository('Author').find({ where: { id: 2 }, relations: { books: true }, order: { books: { id: 'ASC' } } });
  assert.deepEqual(authors[0].books.map((book) => book.title), ['Small Gods', 'Mort']);
}));

check('transaction_and_error', () => source(url, async (db) => {
  const people = db.getRepository('Author');
  await assert.rejects(db.transaction(async (manager) => {
    await manager.getRepository('Author').insert({ name: 'New', email: 'typeorm@example.org' });
    await manager.transaction(async (nested) => {
      await nested.getRepository('Author').insert({ name: 'Twin', email: 'typeorm@example.org' });
    });
  }), /duplicate key/);
  assert.equal(await people.countBy({ email: 'typeorm@example.org' }), 0);
}));

check('settings_apart', () => source(singleUrl, (a) => source(singleUrl, async (b) => {
  await a.query('SET search_path = tenant_a');
  await b.query('SET search_path = tenant_b');
  for (let turn = 0; turn < 3; turn += 1) {
    assert.equal((await a.query('SELECT owner FROM secrets'))[0].owner, 'a');
    assert.equal((await b.query('SELECT owner FROM secrets'))[0].owner, 'b');
  }
}, { poolSize: 1 }), { poolSize: 1 }));

annotated('include_by_comment', () => source(url, async (db) => {
  const rows = await db
    .getRepository('Author')
    .createQueryBuilder('author')
    .select(['author.id', 'author.name'])
    .where('author.id = :id', { id: 2 })
    .comment('@include(books(order: id))')
    .getRawMany();
  assert.equal(rows[0].author_name, 'Terry Pratchett');
  assert.deepEqual(rows[0].books.map((book) => book.title), ['Small Gods', 'Mort']);
}));

annotated('upsert_by_comment', () => source(url, async (db) => {
  await db.transaction(async (manager) => {
    const ids = [];
    for (const name of ['First', 'Second']) {
      const made = await manager
        .createQueryBuilder()
        .insert()
        .into('Author')
        .values({ name, email: 'typeorm@example.org' })
        .comment('@upsert(email)')
        .execute();
      ids.push(made.raw[0].id);
    }
    assert.equal(ids[0], ids[1]);
    assert.equal((await manager.getRepository('Author').findOneBy({ id: ids[0] })).name, 'Second');
    await manager.getRepository('Author').delete(ids[0]);
  });
}));

main();
