// mongosh against the MongoDB port: a script as a person would type it, and what it prints.
'use strict';

const { execFile } = require('node:child_process');
const path = require('node:path');
const { url, check, annotated, withPassword, main, assert } = require('../node/checks.js');

const program = path.join(__dirname, 'node_modules/mongosh/bin/mongosh.js');

// Seconds that a script may take, and the shell before it begins: to start, it needs about two seconds of a processor
// for itself, which on a busy machine are a minute.
const SCRIPT = 60;
const START = 240;

function shell(script, target = url) {
  const words = [program, target, '--quiet', '--norc', '--eval', `print('begun'); ${script}`];
  const environment = { ...process.env, HOME: process.env.TMPDIR || '/tmp', NO_COLOR: '1' };
  return new Promise((resolve, reject) => {
    let late = '';
    const child = execFile(process.execPath, words, { env: environment }, (error, stdout, stderr) => {
      clearTimeout(bound);
      if (error) reject(new Error(`${late}${error.message} ${stdout} ${stderr}`));
      else resolve(stdout.trim());
    });
    const within = (seconds, what) => setTimeout(() => {
      late = `${what} took longer than ${seconds} s: `;
      child.kill();
    }, seconds * 1000);
    let bound = within(START, 'the start of the shell');
    child.stdout.once('data', () => {
      clearTimeout(bound);
      bound = within(SCRIPT, 'the script');
    });
  });
}

// What the script's last line gives, as JSON.
async function value(script, target) {
  const printed = await shell(`use_db = db.getSiblingDB('mongosh'); ${script}`, target);
  return JSON.parse(printed.split('\n').pop());
}

check('connect_scram_tls', async () => {
  const status = await value('print(EJSON.stringify(db.runCommand({ connectionStatus: 1 }).authInfo))');
  assert.equal(status.authenticatedUsers[0].user, 'app');
});

check('wrong_password_refused', () => assert.rejects(
  shell('db.runCommand({ ping: 1 })', withPassword(url, 'not-it')),
  /Authentication failed/i,
));

check('greeting_without_errors', async () => {
  const words = ['db.version()', 'db.hello().msg', 'db.hostInfo().ok', 'db.serverStatus().ok'];
  const printed = await value(`print(EJSON.stringify([${words.join(', ')}]))`);
  assert.equal(printed[1], 'isdbgrid');
  assert.deepEqual(printed.slice(2), [1, 1]);
});

check('create_read_update_delete', async () => {
  const found = await value(`
    use_db.dropDatabase();
    const books = use_db.books; books.insertOne({ _id: 1 }); books.drop();
    books.insertMany([{ _id: 1, title: 'Mort' }, { _id: 2, title: 'Eric' }]);
    books.updateOne({ _id: 2 }, { $set: { price: 5 } });
    books.deleteOne({ _id: 1 });
    print(EJSON.stringify(books.find().toArray()))`);
  assert.deepEqual(found, [{ _id: 2, title: 'Eric', price: 5 }]);
});

check('lists', async () => {
  const printed = await value(`
    use_db.books.createIndex({ title: 1 });
    print(EJSON.stringify([use_db.getCollectionNames(), use_db.books.getIndexes().length,
      db.getMongo().getDBNames().includes('mongosh'), use_db.books.countDocuments(),
      use_db.books.find().explain().ok, use_db.books.stats().ns]))`);
  assert.deepEqual(printed, [['books'], 2, true, 1, 1, 'mongosh.books']);
});

check('cursor_over_batches', async () => {
  const count = await value(`
    use_db.many.insertMany(Array.from({ length: 500 }, (_, n) => ({ _id: n })));
    print(use_db.many.find().batchSize(20).toArray().length)`);
  assert.equal(count, 500);
});

check('transaction', async () => {
  const count = await value(`
    use_db.accounts.insertOne({ _id: 1 });
    const session = db.getMongo().startSession();
    const inside = session.getDatabase('mongosh').accounts;
    session.startTransaction(); inside.insertOne({ _id: 2 }); session.commitTransaction();
    session.startTransaction(); inside.insertOne({ _id: 3 }); session.abortTransaction();
    print(use_db.accounts.countDocuments())`);
  assert.equal(count, 2);
});

check('duplicate_key', async () => {
  const code = await value(`
    let code = 0;
    try { use_db.books.insertOne({ _id: 2 }); } catch (error) { code = error.code; }
    print(code)`);
  assert.equal(code, 11000);
});

annotated('include', async () => {
  const found = await value(`
    use_db.authors.deleteMany({}); use_db.books.deleteMany({});
    use_db.authors.insertMany([{ _id: 1, name: 'Pratchett' }, { _id: 2, name: 'Anon' }]);
    use_db.books.insertMany([{ _id: 1, title: 'Mort', author_id: 1 }, { _id: 2, title: 'Eric', author_id: 1 }]);
    print(EJSON.stringify(use_db.authors.find().sort({ _id: 1 }).comment('@include(books(order: title))').toArray()))`);
  assert.deepEqual(found.map(({ books }) => books.map(({ title }) => title)), [['Eric', 'Mort'], []]);
});

annotated('upsert', async () => {
  const found = await value(`
    use_db.upserted.createIndex({ email: 1 }, { unique: true });
    for (const n of [1, 2]) use_db.upserted.insertOne({ email: 'a', n }, { comment: '@upsert(email)' });
    print(EJSON.stringify(use_db.upserted.find({}, { _id: 0 }).toArray()))`);
  assert.deepEqual(found, [{ email: 'a', n: 2 }]);
});

main(START + SCRIPT);
