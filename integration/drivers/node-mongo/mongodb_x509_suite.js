// The Node driver against a MongoDB port that lets nobody in but by certificate.
'use strict';

const { MongoClient, MongoServerSelectionError } = require('mongodb');
const { url, check, main, assert } = require('../node/checks.js');

const own = process.env.TWINPORT_TEST_CERTIFICATE;
const mapped = process.env.TWINPORT_TEST_MAPPED_CERTIFICATE;
const foreign = process.env.TWINPORT_TEST_FOREIGN_CERTIFICATE;

async function connected(run, target, options) {
  const client = new MongoClient(target, { serverSelectionTimeoutMS: 10000, ...options });
  try {
    return await run(client);
  } finally {
    await client.close();
  }
}

// With a client that logs in by X.509.
function loggedIn(run, certificate, user, options = {}) {
  const target = user ? url.replace('mongodb://', `mongodb://${encodeURIComponent(user)}@`) : url;
  const shown = certificate ? { tlsCertificateKeyFile: certificate } : {};
  return connected(run, target, { authMechanism: 'MONGODB-X509', ...shown, ...options });
}

const ping = (client) => client.db('admin').command({ ping: 1 });

async function isApp(client) {
  const status = await client.db('admin').command({ connectionStatus: 1 });
  assert.deepEqual(status.authInfo.authenticatedUsers.map((each) => each.user), ['app']);
}

function refused(code) {
  return (client) => assert.rejects(ping(client), { code });
}

check('certificate_logs_in', () => loggedIn(async (client) => {
  await isApp(client);
  const books = client.db('node').collection('books');
  await books.deleteMany({});
  await books.insertMany(Array.from({ length: 250 }, (_, n) => ({ _id: n })));
  const found = await books.find({}, { batchSize: 100 }).sort({ _id: 1 }).toArray();
  assert.deepEqual(found.map((each) => each._id), Array.from({ length: 250 }, (_, n) => n));
}, own));

check('subject_names_the_user', async () => {
  for (const subject of ['CN=app', 'CN=app,OU=shop,O=Library']) {
    await loggedIn(isApp, own, subject);
  }
});

check('mapped_certificate_logs_in', async () => {
  for (const user of ['app', null]) {
    await loggedIn(isApp, mapped, user);
  }
});

check('another_user_refused', async () => {
  for (const [certificate, user] of [[own, 'other'], [own, 'CN=other'], [mapped, 'other']]) {
    await loggedIn(refused(18), certificate, user);
  }
});

check('missing_certificate_refused', async () => {
  for (const user of [null, 'app']) {
    await loggedIn(refused(18), null, user);
  }
});

check('foreign_certificate_refused', () => loggedIn(
  (client) => assert.rejects(ping(client), MongoServerSelectionError),
  foreign,
  null,
  { serverSelectionTimeoutMS: 2000 },
));

check('certificate_alone_is_no_login', () => connected(
  (client) => assert.rejects(client.db('node').collection('books').findOne(), { code: 13 }),
  url,
  { tlsCertificateKeyFile: own },
));

check('password_refused', async () => {
  const target = url.replace('mongodb://', 'mongodb://app:app-secret@');
  for (const authMechanism of ['SCRAM-SHA-256', 'SCRAM-SHA-1']) {
    await connected(refused(18), target, { tlsCertificateKeyFile: own, authMechanism });
  }
});

main();
