// Notes in Postgres, files in S3, counts in Redis, below BASE_PATH.
import { createServer } from 'node:http'
import { object, withDatabase, withRedis } from './services.js'

const BASE = process.env.BASE_PATH ?? ''
const VERSION = process.env.VERSION ?? '1'

async function text(request) {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const json = (value, status = 200) => ({ status, type: 'application/json', body: JSON.stringify(value) })

const routes = {
  'GET /healthz': async () => {
    const found = await withDatabase((db) => db.query('select count(*)::int as notes from notes'))
    return json({ version: VERSION, ...found.rows[0] })
  },
  'GET /notes': async () => {
    const found = await withDatabase((db) => db.query('select id::int, text from notes order by id'))
    return json(found.rows)
  },
  'POST /notes': async (body) => {
    const note = body.toString()
    const made = await withDatabase((db) =>
      db.query('insert into notes (text) values ($1) returning id::int, text, session_user as login', [note]))
    return json(made.rows[0], 201)
  },
  'POST /count': async () => json({ count: await withRedis((redis, prefix) => redis.incr(`${prefix}count`)) }),
  'PUT /files/': async (body, name) => {
    const answer = await object('PUT', name, body)
    return json({ name }, answer.ok ? 201 : 502)
  },
  'GET /files/': async (_body, name) => {
    const answer = await object('GET', name)
    if (!answer.ok) return json({ name }, answer.status === 404 ? 404 : 502)
    return { status: 200, type: 'application/octet-stream', body: Buffer.from(await answer.arrayBuffer()) }
  },
}

async function answer(request) {
  const { pathname } = new URL(request.url, 'http://app')
  const path = BASE && pathname.startsWith(`${BASE}/`) ? pathname.slice(BASE.length) : pathname
  const [, folder, name] = /^(\/files\/)([\w.-]+)$/.exec(path) ?? []
  const route = routes[`${request.method} ${folder ?? path}`]
  // Read to its end before any answer, else a proxy that passes it on as it comes must drop the connection.
  const body = await text(request)
  return route ? route(body, name) : json({ path }, 404)
}

const server = createServer(async (request, response) => {
  let found
  try {
    found = await answer(request)
  } catch (error) {
    console.error(`${request.method} ${request.url}: ${error.message}`)
    found = json({ error: 'unavailable' }, 503)
  }
  response.writeHead(found.status, { 'content-type': found.type }).end(found.body)
})

process.on('SIGTERM', () => server.close(() => process.exit(0)))
server.listen(3000, () => console.log(`notes version ${VERSION} listens on 3000`))
