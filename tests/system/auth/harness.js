// What every journey has: clients of the appliance, mails, and a word on each step.
//
// A journey talks to the test that started it in lines of JSON: what it has done on standard output, and there also
// what it asks for; the answers come on standard input.
import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { createClient } from '@supabase/supabase-js'
import WebSocket from 'ws'

const SETTINGS = JSON.parse(process.env.JOURNEY)
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

export const SITE = SETTINGS.site
export const PASSWORD = 'a lighthouse keeps its hours'
export const OTHER_PASSWORD = 'the tide table hangs in the hall'

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)

/** Does one step and says so; what goes wrong inside is said under its name, with the line of the journey. */
export async function step(name, action) {
  const began = performance.now()
  try {
    const found = await action()
    say({ step: name, milliseconds: Math.round(performance.now() - began) })
    return found
  } catch (error) {
    const line = (error.stack ?? '').split('\n').find((text) => text.includes('/journeys/')) ?? ''
    say({ failed: name, why: error.message ?? String(error), where: line.trim() })
    process.exit(1)
  }
}

/** What the test that started us gives. */
async function asked(question) {
  say(question)
  const { value, done } = await lines.next()
  assert.equal(done, false, 'the test no longer answers')
  return JSON.parse(value)
}

/** The client as an app makes it; each one is a device of its own. */
export function device(auth = {}) {
  return createClient(SETTINGS.url, SETTINGS.anon, options(auth)).auth
}

/** The client with the key that may administer. */
export function administrator() {
  return createClient(SETTINGS.url, SETTINGS.service, options({})).auth.admin
}

function options(auth) {
  return {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false, ...auth },
    realtime: { transport: WebSocket },
  }
}

/** An address that nobody had before. */
export const address = (name = 'somebody') => `${name}-${randomBytes(8).toString('hex')}@example.org`

/** What the call gave; it must not have failed. */
export function ok({ data, error }) {
  if (error) throw new Error(`${error.name}: ${error.status} ${error.code}: ${error.message}`)
  return data
}

/** The call must have failed with this status and code, as the client sees them. */
export function refused({ error }, status, code) {
  assert.ok(error, `not refused, though it should be: ${status} ${code}`)
  assert.equal(`${error.status} ${error.code}`, `${status} ${code}`)
  return error
}

/** The mail to this address, or number so and so of them: its subject, kind, link and code. */
export const mail = (recipient, number = 1) => asked({ ask: 'mail', recipient, number })

/** How many mails there are to this address. */
export const mails = (recipient) => asked({ ask: 'count', recipient })

/** Somebody with a confirmed address and this password. */
export const person = (password = PASSWORD) => asked({ ask: 'person', password })

/** Goes where a link leads, as a browser would: the address, and what query and fragment say. */
export async function follow(link) {
  const answer = await fetch(link, { redirect: 'manual' })
  assert.equal(answer.status, 303, await answer.text())
  const url = new URL(answer.headers.get('location'))
  return {
    place: url.origin + url.pathname,
    query: Object.fromEntries(url.searchParams),
    fragment: Object.fromEntries(new URLSearchParams(url.hash.slice(1))),
  }
}

/** A device on which this person has signed in. */
export async function signedIn({ email, password }, auth = {}) {
  const made = device(auth)
  ok(await made.signInWithPassword({ email, password }))
  return made
}

export const session = async (auth) => ok(await auth.getSession()).session

/** Neither token of the session is good for anything. */
export async function is_over({ access_token, refresh_token }) {
  assert.equal((await device().getUser(access_token)).error?.name, 'AuthSessionMissingError')
  refused(await device().refreshSession({ refresh_token }), 400, 'refresh_token_not_found')
}

export const claims = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'))

/** The code of RFC 6238 that is good `ahead` periods of 30 seconds from now. */
export function totp(secret, ahead = 0) {
  const bits = [...secret.replace(/=+$/, '')]
    .map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0'))
    .join('')
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)))
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000) + ahead))
  const sum = createHmac('sha1', key).update(counter).digest()
  const number = sum.readUInt32BE(sum[sum.length - 1] & 15) & 0x7fffffff
  return String(number % 1000000).padStart(6, '0')
}

/** A code of the right form that is not good in any period near to this one. */
export function wrong(secret) {
  const good = new Set([-2, -1, 0, 1, 2].map((ahead) => totp(secret, ahead)))
  return ['000000', '111111', '222222', '333333', '444444', '555555'].find((code) => !good.has(code))
}
