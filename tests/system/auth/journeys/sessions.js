// How long a device stays signed in, and how it is signed out.
import assert from 'node:assert/strict'
import * as h from '../harness.js'

async function lives(auth) {
  h.ok(await auth.getUser())
  h.ok(await auth.refreshSession())
}

export async function refreshed() {
  const somebody = await h.step('somebody is here', () => h.person())
  const auth = await h.step('sign in', () => h.signedIn(somebody))
  const before = await h.session(auth)
  const after = await h.step('refresh', async () => {
    const { session, user } = h.ok(await auth.refreshSession())
    assert.equal(user.id, somebody.id)
    assert.notEqual(session.refresh_token, before.refresh_token)
    return session
  })
  await h.step('it is the same session', async () => {
    const [former, latter] = [before, after].map(({ access_token }) => h.claims(access_token))
    assert.equal(latter.session_id, former.session_id)
    assert.deepEqual(latter.amr, former.amr)
    h.ok(await auth.getUser())
  })
  await h.step('who lost the answer gets it again', async () => {
    const { session } = h.ok(await h.device().refreshSession({ refresh_token: before.refresh_token }))
    assert.equal(session.refresh_token, after.refresh_token)
  })
  await h.step('a token that nobody gave', async () => {
    h.refused(await h.device().refreshSession({ refresh_token: 'abcdefghijkl' }), 400, 'refresh_token_not_found')
  })
}

export async function refreshed_by_many_tabs_at_once() {
  const auth = await h.step('sign in', async () => h.signedIn(await h.person()))
  const { refresh_token } = await h.session(auth)
  const tabs = await h.step('twelve tabs refresh', () =>
    Promise.all(Array.from({ length: 12 }, () => h.device().refreshSession({ refresh_token })))
  )
  await h.step('all have the one child', async () => {
    const children = new Set(tabs.map((answer) => h.ok(answer).session.refresh_token))
    assert.equal(children.size, 1)
    assert.ok(!children.has(refresh_token))
    h.ok(await h.device().refreshSession({ refresh_token: [...children][0] }))
  })
}

async function three_devices() {
  const somebody = await h.person()
  const devices = await Promise.all([1, 2, 3].map(() => h.signedIn(somebody)))
  return { somebody, devices, sessions: await Promise.all(devices.map(h.session)) }
}

export async function signed_out_here() {
  const { devices, sessions } = await h.step('three devices', three_devices)
  await h.step('sign out of one', async () => {
    h.ok(await devices[0].signOut({ scope: 'local' }))
    assert.equal(await h.session(devices[0]), null)
  })
  await h.step('it is out', () => h.is_over(sessions[0]))
  await h.step('the others are in', () => Promise.all(devices.slice(1).map(lives)))
}

export async function signed_out_elsewhere() {
  const { devices, sessions } = await h.step('three devices', three_devices)
  await h.step('sign out of the others', async () => h.ok(await devices[0].signOut({ scope: 'others' })))
  await h.step('they are out', () => Promise.all(sessions.slice(1).map(h.is_over)))
  await h.step('this one is in', () => lives(devices[0]))
}

export async function signed_out_everywhere() {
  const { somebody, devices, sessions } = await h.step('three devices', three_devices)
  const bystander = await h.step('and somebody else', async () => h.signedIn(await h.person()))
  await h.step('sign out', async () => h.ok(await devices[0].signOut()))
  await h.step('all are out', () => Promise.all(sessions.map(h.is_over)))
  await h.step('somebody else is in', () => lives(bystander))
  await h.step('and they may sign in again', async () => lives(await h.signedIn(somebody)))
}

export async function taken_over_by_another_device() {
  const auth = await h.step('sign in', async () => h.signedIn(await h.person()))
  await h.step('hand the session on', async () => {
    const other = h.device()
    const { access_token, refresh_token } = await h.session(auth)
    const { session } = h.ok(await other.setSession({ access_token, refresh_token }))
    assert.equal(session.access_token, access_token)
    await lives(other)
  })
}
