// Mongoose against the MongoDB port.
'use strict';

const mongoose = require('mongoose');
const { url, check, main, assert } = require('../node/checks.js');

const { Schema } = mongoose;

const Author = mongoose.model('Author', new Schema({
  name: { type: String, required: true },
  email: { type: String, unique: true },
  born: Date,
}, { timestamps: true }));

const Book = mongoose.model('Book', new Schema({
  title: String,
  price: Schema.Types.Decimal128,
  tags: [String],
  author: { type: Schema.Types.ObjectId, ref: 'Author' },
}));

async function fresh() {
  await Author.deleteMany({});
  await Book.deleteMany({});
  const author = await Author.create({ name: 'Terry', email: 't@p', born: new Date('1948-04-28') });
  await Book.create([
    { title: 'Mort', price: '7.99', tags: ['death'], author },
    { title: 'Eric', price: '5.10', author },
  ]);
  return author;
}

check('connect_and_build_indexes', async () => {
  await mongoose.connect(url, { dbName: 'mongoose', serverSelectionTimeoutMS: 10000 });
  await Author.init();
  await Book.init();
  assert.ok((await Author.listIndexes()).some((index) => index.unique && index.key.email === 1));
});

check('documents_and_changes', async () => {
  const author = await fresh();
  const found = await Author.findOne({ email: 't@p' });
  assert.equal(found.id, author.id);
  found.name = 'Sir Terry';
  await found.save();
  const again = await Author.findById(author.id).lean();
  assert.equal(again.name, 'Sir Terry');
  assert.ok(again.updatedAt >= again.createdAt);
  assert.equal(again.born.toISOString(), '1948-04-28T00:00:00.000Z');
  const missing = await Author.findOneAndUpdate({ email: 'new' }, { name: 'N' }, { upsert: true, new: true });
  assert.equal(missing.name, 'N');
});

check('validation_and_duplicates', async () => {
  await fresh();
  await assert.rejects(Author.create({ email: 'x' }), { name: 'ValidationError' });
  await assert.rejects(Author.create({ name: 'Copy', email: 't@p' }), { code: 11000 });
});

check('populate', async () => {
  await fresh();
  const books = await Book.find().sort('title').populate('author').comment('for the list');
  assert.deepEqual(books.map((book) => [book.title, book.author.name]), [['Eric', 'Terry'], ['Mort', 'Terry']]);
  assert.equal(books[1].price.toString(), '7.99');
});

check('queries_and_aggregation', async () => {
  await fresh();
  assert.equal(await Book.countDocuments({ tags: 'death' }), 1);
  const page = await Book.find().sort('-title').skip(1).limit(1).select('title -_id').lean();
  assert.deepEqual(page, [{ title: 'Eric' }]);
  const groups = await Book.aggregate().group({ _id: '$author', count: { $sum: 1 } });
  assert.equal(groups[0].count, 2);
  let seen = 0;
  for await (const book of Book.find().batchSize(1)) seen += book.title ? 1 : 0;
  assert.equal(seen, 2);
});

check('transactions', async () => {
  await fresh();
  await mongoose.connection.transaction(async (session) => {
    await Book.create([{ title: 'Sourcery' }], { session });
  });
  await assert.rejects(mongoose.connection.transaction(async (session) => {
    await Book.create([{ title: 'Pyramids' }], { session });
    throw new Error('undo');
  }), /undo/);
  assert.deepEqual(await Book.distinct('title'), ['Eric', 'Mort', 'Sourcery']);
});

check('bulk_and_disconnect', async () => {
  await fresh();
  const result = await Book.bulkWrite([
    { insertOne: { document: { title: 'A' } } },
    { updateMany: { filter: {}, update: { $push: { tags: 'new' } } } },
  ]);
  assert.deepEqual([result.insertedCount, result.modifiedCount], [1, 3]);
  await mongoose.disconnect();
});

main();
