// What the appliance provides, met with credentials that are read anew for each connection: they may be rotated.
import { readFileSync } from 'node:fs'
import { createClient } from '@redis/client'
import { AwsClient } from 'aws4fetch'
import pg from 'pg'

const CONNECTING = 5000 // milliseconds
const read = (kind) => JSON.parse(readFileSync(`/run/secrets/${kind}.json`, 'utf8'))

function database() {
  if (process.env.DATABASE_URL) return { connectionString: process.env.DATABASE_URL }
  const { host, port, database, user, password, ca } = read('postgres')
  return { host, port, database, user, password, ssl: { ca: readFileSync(ca, 'utf8') } }
}

export async function withDatabase(work) {
  const client = new pg.Client({ ...database(), connectionTimeoutMillis: CONNECTING })
  client.on('error', () => {}) // the query under way tells
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

export async function withRedis(work) {
  const { host, port, user, password, prefix } = read('redis')
  const socket = { host, port, connectTimeout: CONNECTING, reconnectStrategy: false }
  const client = createClient({ username: user, password, socket })
  client.on('error', () => {})
  await client.connect()
  try {
    return await work(client, prefix)
  } finally {
    client.destroy()
  }
}

export async function object(method, name, body) {
  const { endpoint, region, buckets, access_key, secret_key } = read('s3')
  const client = new AwsClient({
    accessKeyId: access_key, secretAccessKey: secret_key, region, service: 's3', retries: 0,
  })
  return client.fetch(`${endpoint}/${buckets[0]}/${encodeURIComponent(name)}`, { method, body })
}
