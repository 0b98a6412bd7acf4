// A stand-in for Grafana: it starts only where the official image would, and does what the settings it is given say.
// It tells what it found to whoever logs in, secrets as hashes.
import { createHash } from 'node:crypto'
import { accessSync, constants, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join, relative } from 'node:path'

const paths = Object.fromEntries(Object.entries(process.env).flatMap(([name, value]) =>
  name.startsWith('GF_PATHS_') ? [[name.slice(9).toLowerCase(), value]] : []))
accessSync(paths.config, constants.R_OK)
accessSync(paths.home, constants.R_OK)
mkdirSync(paths.plugins, { recursive: true })
mkdirSync(paths.logs, { recursive: true })
writeFileSync(join(paths.data, 'grafana.db'), 'kept')

function ini(text) {
  const found = {}
  let section = ''
  for (const line of text.split('\n').map((each) => each.trim())) {
    if (!line || line.startsWith(';') || line.startsWith('#')) continue
    const head = /^\[(.+)\]$/.exec(line)
    if (head) section = head[1]
    else {
      const [key, ...value] = line.split('=')
      found[section] = { ...found[section], [key.trim()]: value.join('=').trim() }
    }
  }
  return found
}

function* files(folder) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    if (statSync(path).isDirectory()) yield* files(path)
    else yield path
  }
}

const under = (folder) => Object.fromEntries([...files(folder)].map((path) => [relative(folder, path), readFileSync(path, 'utf8')]))
const settings = ini(readFileSync(paths.config, 'utf8'))
const provisioning = under(paths.provisioning)
const [, folder] = /path: *([^ }\n]+)/.exec(Object.values(provisioning).find((text) => text.includes('providers:')))
const dashboards = Object.fromEntries(
  Object.entries(under(folder)).map(([name, text]) => [name, JSON.parse(text)]))
JSON.parse(readFileSync(settings.dashboards.default_home_dashboard_path, 'utf8'))

function writable(path) {
  try {
    writeFileSync(join(path, 'tried'), '')
    return true
  } catch {
    return false
  }
}

const hash = (text) => createHash('sha256').update(text).digest('hex')
const { admin_user: user, admin_password: password, secret_key: key, ...security } = settings.security
const report = {
  user: process.getuid(),
  environment: Object.keys(process.env).filter((name) => name.startsWith('GF_')),
  settings: { ...settings, security: { ...security, admin_password: hash(password), secret_key: hash(key) } },
  provisioning,
  dashboards,
  writable: [paths.data, paths.plugins, '/tmp', paths.home, paths.provisioning, '/etc/maia', '/run/secrets'].filter(writable),
}

const { pathname: prefix } = new URL(settings.server.root_url)
const on = (section, name) => settings[section]?.[name] === 'true'
const known = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
const routes = {
  '/api/health': () => [200, JSON.stringify({ database: 'ok', version: 'stand-in', commit: 'none' })],
  '/metrics': () => [200, 'grafana_build_info{version="stand-in"} 1\n'],
  '/login': () => [200, 'Log in'],
  '/api/user/signup': () => on('users', 'allow_sign_up') ? [200, '{}'] : [401, '{"message":"User signup is disabled"}'],
}

function answer(url, login) {
  const below = on('server', 'serve_from_sub_path') && url.startsWith(prefix)
  if (!below && !url.startsWith('/api')) return [301, '', settings.server.root_url]
  const path = below ? url.slice(prefix.length - 1) : url
  if (routes[path]) return routes[path]()
  if (login !== known && !(on('auth.anonymous', 'enabled') && !login)) {
    return path.startsWith('/api') ? [401, '{}'] : [302, '', `${prefix}login`]
  }
  return [200, JSON.stringify(path === '/api/stand-in' ? report : {})]
}

const server = createServer((request, response) => {
  const [status, body, location] = answer(request.url, request.headers.authorization)
  request.resume().on('end', () => response.writeHead(status, location ? { location } : {}).end(body))
})
process.on('SIGTERM', () => server.close())
server.listen(Number(settings.server.http_port), () => console.log('a stand-in for Grafana listens'))
