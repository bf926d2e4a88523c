// node-postgres at the admin console: simple and extended protocol, and its pool.
'use strict';

const { Client, Pool } = require('pg');
const { url, check, main, assert } = require('./checks');

const SHOWS = ['CLIENTS', 'CONFIG', 'DATABASES', 'HELP', 'LISTS', 'POOLS', 'SERVERS', 'STATS', 'STATS_TOTALS', 'USERS', 'VERSION'];

async function connected(use) {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

check('every_show', () => connected(async (console) => {
  for (const subject of SHOWS) assert.ok((await console.query(`SHOW ${subject}`)).rows.length, subject);
}));

check('numbers_are_numbers', () => connected(async (console) => {
  for (const binary of [false, true]) {
    const { rows, fields } = await console.query({ text: 'SHOW LISTS', values: [], binary });
    assert.equal(fields[1].dataTypeID, 20);
    assert.equal(Number(rows.find((row) => row.list === 'databases').items), 1);
  }
}));

check('wrong_command_then_usable', () => connected(async (console) => {
  for (const values of [undefined, []]) {
    await assert.rejects(console.query('SHOW POOL', values), (error) => error.code === '42601' && /SHOW POOLS/.test(error.hint));
  }
  assert.equal((await console.query('SHOW VERSION')).rows.length, 1);
}));

check('several_commands_at_once', () => connected(async (console) => {
  const results = await console.query('SHOW VERSION; SHOW LISTS');
  assert.deepEqual(results.map((result) => result.fields[0].name), ['version', 'list']);
}));

check('both_protocols', () => connected(async (console) => {
  for (let turn = 0; turn < 3; turn += 1) {
    assert.equal((await console.query('SHOW POOLS')).fields[0].name, 'database');
    assert.equal((await console.query({ name: 'pools', text: 'SHOW POOLS', values: [] })).fields[0].name, 'database');
  }
}));

check('transactions_of_the_driver', async () => {
  const pool = new Pool({ connectionString: url, max: 2 });
  const counts = await Promise.all(Array.from({ length: 10 }, async () => {
    const client = await pool.connect();
    await client.query('BEGIN');
    const { rows } = await client.query('SHOW VERSION');
    await client.query('COMMIT');
    client.release();
    return rows.length;
  }));
  assert.deepEqual(counts, Array(10).fill(1));
  await pool.end();
});

main();
