// The Node driver against the MongoDB port.
'use strict';

const mongodb = require('mongodb');
const { url, check, annotated, withPassword, main, assert } = require('../node/checks.js');

const { MongoClient } = mongodb;
const otherUrl = process.env.TWINPORT_TEST_OTHER_URL;
const DATABASE = 'node';

const TYPES = {
  double: 0.5,
  string: 'grün \u{1f418}',
  document: { a: { b: {} }, '': 'empty' },
  array: [1, 'two', [null, { x: true }]],
  binary: new mongodb.Binary(Buffer.from([0, 255]), 0),
  uuid: new mongodb.UUID('00000000-0000-4000-8000-0000000000ff'),
  id: new mongodb.ObjectId('0123456789abcdef01234567'),
  yes: true,
  date: new Date('2024-02-29T23:59:59.123Z'),
  nothing: null,
  regex: new mongodb.BSONRegExp('^a.*b$', 'im'),
  code: new mongodb.Code('function() { return 1; }'),
  scoped: new mongodb.Code('x', { x: 1 }),
  symbol: new mongodb.BSONSymbol('s'),
  int: new mongodb.Int32(-1),
  timestamp: new mongodb.Timestamp({ t: 1700000000, i: 7 }),
  long: mongodb.Long.fromString('9223372036854775807'),
  decimal: mongodb.Decimal128.fromString('1.2300E+5'),
  least: new mongodb.MinKey(),
  most: new mongodb.MaxKey(),
};

async function connected(run, options = {}, target = url) {
  const client = new MongoClient(target, { serverSelectionTimeoutMS: 10000, ...options });
  try {
    return await run(client, client.db(DATABASE));
  } finally {
    await client.close();
  }
}

async function fresh(database, name) {
  // Before MongoDB 7.0 what isn't there can't be dropped.
  await database.collection(name).drop().catch((error) => assert.equal(error.message, 'ns not found'));
  return database.collection(name);
}

async function numbered(database, count) {
  const many = await fresh(database, 'many');
  await many.insertMany(Array.from({ length: count }, (_, n) => ({ _id: n })));
  return many;
}

function coded(code) {
  return (error) => {
    assert.equal(error.code, code, error.message);
    return true;
  };
}

check('connect_scram_tls', () => connected(async (client) => {
  assert.equal((await client.db('admin').command({ ping: 1 })).ok, 1);
  const status = await client.db('admin').command({ connectionStatus: 1 });
  assert.deepEqual(status.authInfo.authenticatedUsers.map((each) => each.user), ['app']);
}));

check('connect_by_each_mechanism', async () => {
  for (const authMechanism of ['SCRAM-SHA-256', 'SCRAM-SHA-1']) {
    await connected((client) => client.db('admin').command({ ping: 1 }), { authMechanism });
  }
});

check('wrong_password_refused', () => connected(
  (client) => assert.rejects(client.db('admin').command({ ping: 1 }), coded(18)),
  {},
  withPassword(url, 'not-it'),
));

check('create_read_update_delete', () => connected(async (client, database) => {
  const books = await fresh(database, 'books');
  const { insertedId } = await books.insertOne({ title: 'Mort', price: 8 });
  assert.deepEqual(await books.findOne({ _id: insertedId }), { _id: insertedId, title: 'Mort', price: 8 });
  const updated = await books.updateOne({ _id: insertedId }, { $inc: { price: 1 } });
  assert.deepEqual([updated.matchedCount, updated.modifiedCount], [1, 1]);
  const upserted = await books.updateOne({ _id: 5 }, { $set: { title: 'Eric' } }, { upsert: true });
  assert.equal(upserted.upsertedId, 5);
  const after = await books.findOneAndUpdate({ _id: 5 }, { $set: { title: 'Faust' } }, { returnDocument: 'after' });
  assert.deepEqual(after, { _id: 5, title: 'Faust' });
  assert.equal(await books.countDocuments(), 2);
  assert.deepEqual((await books.distinct('title')).sort(), ['Faust', 'Mort']);
  assert.equal((await books.deleteMany({})).deletedCount, 2);
}));

check('types_round_trip', () => connected(async (client, database) => {
  const types = await fresh(database, 'types');
  await types.insertOne({ _id: 1, ...TYPES });
  const raw = await types.findOne({ _id: 1 }, { raw: true });
  const sent = mongodb.BSON.serialize({ _id: 1, ...TYPES });
  assert.deepEqual(Buffer.from(raw), Buffer.from(sent));
  const found = await types.findOne({ long: TYPES.long, date: TYPES.date, decimal: TYPES.decimal });
  assert.equal(found.uuid.toString(), TYPES.uuid.toString());
}));

check('cursor_over_batches', () => connected(async (client, database) => {
  const many = await numbered(database, 1000);
  for (const batchSize of [2, 101, 1000, 5000]) {
    const found = await many.find({}, { batchSize }).sort({ _id: 1 }).toArray();
    assert.deepEqual(found.map((each) => each._id), Array.from({ length: 1000 }, (_, n) => n));
  }
  let count = 0;
  for await (const each of many.find({}, { batchSize: 7 }).limit(50)) count += each._id >= 0 ? 1 : 0;
  assert.equal(count, 50);
  const cursor = many.find({}, { batchSize: 5 });
  await cursor.next();
  await cursor.close();
}));

check('cursors_side_by_side', () => connected(async (client, database) => {
  const many = await numbered(database, 300);
  const runs = Array.from({ length: 12 }, () => many.find({}, { batchSize: 20 }).toArray());
  assert.deepEqual((await Promise.all(runs)).map((each) => each.length), Array(12).fill(300));
}));

check('bulk_ordered_and_unordered', () => connected(async (client, database) => {
  const bulk = await fresh(database, 'bulk');
  const result = await bulk.bulkWrite([
    { insertOne: { document: { _id: 1 } } },
    { updateOne: { filter: { _id: 1 }, update: { $set: { x: 1 } } } },
    { replaceOne: { filter: { _id: 3 }, replacement: { z: 1 }, upsert: true } },
    { deleteOne: { filter: { _id: 1 } } },
  ]);
  assert.deepEqual(
    [result.insertedCount, result.modifiedCount, result.upsertedCount, result.deletedCount],
    [1, 1, 1, 1],
  );
  const documents = () => [{ _id: 10 }, { _id: 3 }, { _id: 11 }];
  await assert.rejects(bulk.insertMany(documents()), (error) => {
    assert.equal(error.code, 11000);
    assert.equal(error.result.insertedCount, 1);
    return true;
  });
  await assert.rejects(bulk.insertMany([{ _id: 12 }, { _id: 3 }, { _id: 13 }], { ordered: false }), coded(11000));
  assert.equal(await bulk.countDocuments({ _id: { $gte: 10 } }), 3);
}));

check('aggregation', () => connected(async (client, database) => {
  const orders = await fresh(database, 'orders');
  await orders.insertMany(Array.from({ length: 10 }, (_, n) => ({ who: 'ab'[n % 2], amount: n })));
  const stages = [{ $group: { _id: '$who', sum: { $sum: '$amount' } } }, { $sort: { _id: 1 } }];
  assert.deepEqual(await orders.aggregate(stages).toArray(), [{ _id: 'a', sum: 20 }, { _id: 'b', sum: 25 }]);
  assert.equal((await orders.aggregate([{ $match: {} }], { batchSize: 2 }).toArray()).length, 10);
}));

check('indexes_and_duplicate_key', () => connected(async (client, database) => {
  const people = await fresh(database, 'people');
  assert.equal(await people.createIndex({ email: 1 }, { unique: true }), 'email_1');
  assert.deepEqual((await people.indexes()).map((each) => each.name), ['_id_', 'email_1']);
  await people.insertOne({ email: 'a' });
  await assert.rejects(people.insertOne({ email: 'a' }), (error) => {
    assert.equal(error.code, 11000);
    assert.match(error.message, /E11000/);
    return true;
  });
  await people.dropIndex('email_1');
  await people.insertOne({ email: 'a' });
}));

check('collections_and_databases', () => connected(async (client) => {
  const database = client.db('node_admin');
  await database.dropDatabase();
  await database.createCollection('first');
  const names = (await database.listCollections().toArray()).map((each) => each.name);
  assert.deepEqual(names, ['first']);
  await assert.rejects(database.command({ noSuchCommand: 1 }), coded(59));
  await database.dropDatabase();
}));

check('transaction_commit_and_abort', () => connected(async (client, database) => {
  const accounts = await fresh(database, 'accounts');
  await accounts.insertOne({ _id: 1, sum: 10 });
  await client.withSession(async (session) => {
    await session.withTransaction(async () => {
      await accounts.updateOne({ _id: 1 }, { $inc: { sum: -4 } }, { session });
      assert.equal((await accounts.findOne({ _id: 1 })).sum, 10);
      await accounts.insertOne({ _id: 2, sum: 4 }, { session });
    });
    session.startTransaction();
    await accounts.insertOne({ _id: 3 }, { session });
    await session.abortTransaction();
    session.startTransaction();
    await assert.rejects(accounts.insertOne({ _id: 1 }, { session }), coded(11000));
    await session.abortTransaction();
  });
  assert.deepEqual(await accounts.find().sort({ _id: 1 }).toArray(), [{ _id: 1, sum: 6 }, { _id: 2, sum: 4 }]);
}));

check('retryable_write', () => connected(async (client, database) => {
  const retried = await fresh(database, 'retried');
  await retried.insertOne({ _id: 1, n: 0 });
  const command = {
    update: 'retried',
    updates: [{ q: { _id: 1 }, u: { $inc: { n: 1 } } }],
    txnNumber: mongodb.Long.fromNumber(1),
  };
  // The driver numbers the writes of a session itself, so the repeated ones get a client of their own.
  await connected(async (repeater) => {
    for (let turn = 0; turn < 3; turn += 1) {
      const answer = await repeater.db(DATABASE).command({ ...command });
      assert.equal(answer.nModified, 1);
    }
  });
  assert.equal((await retried.findOne()).n, 1);
}));

check('compression', async () => {
  for (const name of ['snappy', 'zlib']) {
    await connected(async (client, database) => {
      const packed = await fresh(database, 'packed');
      const text = 'a'.repeat(100000);
      await packed.insertOne({ text });
      assert.equal((await packed.findOne()).text, text);
    }, { compressors: [name] });
  }
});

check('two_users_kept_apart', () => connected(async (client, database) => {
  const many = await numbered(database, 200);
  const cursor = many.find({}, { batchSize: 10 });
  await cursor.next();
  await connected(async (_, theirs) => {
    const command = { getMore: cursor.id, collection: 'many' };
    await assert.rejects(theirs.command(command), (error) => error.code === 13 || error.code === 43);
  }, {}, otherUrl);
  assert.equal((await cursor.toArray()).length, 199);
}));

check('more_clients_than_connections', async () => {
  const runs = Array.from({ length: 20 }, () => connected(async (client, database) => {
    for (let turn = 0; turn < 10; turn += 1) {
      assert.equal((await database.collection('many').findOne({ _id: 7 }))._id, 7);
    }
  }));
  await Promise.all(runs);
});

annotated('include', () => connected(async (client) => {
  const database = client.db('library');
  const authors = await fresh(database, 'authors');
  const books = await fresh(database, 'books');
  await authors.insertMany([{ _id: 1, name: 'Terry' }, { _id: 2, name: 'Nobody' }]);
  await books.insertMany([{ _id: 1, title: 'Mort', author_id: 1 }, { _id: 2, title: 'Eric', author_id: 1 }]);
  const found = await authors.find().sort({ _id: 1 }).comment('@include(books(order: title))').toArray();
  assert.deepEqual(found.map((each) => each.books.map((book) => book.title)), [['Eric', 'Mort'], []]);
  const one = await books.findOne({ _id: 1 }, { comment: '@include(author)' });
  assert.equal(one.author.name, 'Terry');
}));

annotated('upsert', () => connected(async (client, database) => {
  const people = await fresh(database, 'upserted');
  await people.createIndex({ email: 1 }, { unique: true });
  for (const n of [1, 2]) await people.insertOne({ email: 'a', n }, { comment: '@upsert(email)' });
  assert.deepEqual((await people.find().toArray()).map((each) => each.n), [2]);
}));

main();
