// What every Node suite shares: the contract with the harness. A suite runs named checks, prints
// `ok NAME` or `not ok NAME: reason` for each, and exits non-zero if any failed.
'use strict';

const assert = require('node:assert/strict');

const url = process.env.TWINPORT_TEST_URL;
const singleUrl = process.env.TWINPORT_TEST_SINGLE_URL;
const isAnnotated = process.env.TWINPORT_TEST_ANNOTATED === '1';
const checks = [];

function check(name, run) {
  checks.push({ name, run });
}

// A check that makes sense only through the port.
function annotated(name, run) {
  if (isAnnotated) checks.push({ name, run });
}

function withPassword(target, password) {
  const changed = new URL(target);
  changed.password = password;
  return changed.toString();
}

function timeout(seconds) {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`took longer than ${seconds} s`)), seconds * 1000).unref();
  });
}

// Runs all checks; each may take so many seconds.
async function main(bound = 60) {
  let failed = 0;
  for (const { name, run } of checks) {
    try {
      await Promise.race([run(), timeout(bound)]);
      console.log(`ok ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`not ok ${name}: ${String(error.message).replace(/\s+/g, ' ')}`);
      console.error(error);
    }
  }
  process.exit(failed ? 1 : 0);
}

module.exports = { url, singleUrl, check, annotated, withPassword, main, assert };
