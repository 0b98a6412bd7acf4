// What the service key may do.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import * as h from '../harness.js'

export async function a_user_from_creation_to_deletion() {
  const admin = h.administrator()
  const email = h.address('Made.By.Hand')
  const id = await h.step('create', async () => {
    const { user } = h.ok(
      await admin.createUser({
        email,
        password: h.PASSWORD,
        email_confirm: true,
        user_metadata: { name: 'Made' },
        app_metadata: { plan: 'basic' },
      })
    )
    assert.equal(user.email, email.toLowerCase())
    assert.ok(user.email_confirmed_at)
    assert.equal(user.user_metadata.name, 'Made')
    assert.deepEqual(user.app_metadata, { plan: 'basic', provider: 'email', providers: ['email'] })
    return user.id
  })
  await h.step('not twice', async () => {
    h.refused(await admin.createUser({ email: email.toUpperCase(), password: h.PASSWORD }), 422, 'email_exists')
  })
  await h.step('sign in as they', async () => {
    const auth = await h.signedIn({ email, password: h.PASSWORD })
    assert.equal(h.claims((await h.session(auth)).access_token).app_metadata.plan, 'basic')
  })
  await h.step('get', async () => assert.equal(h.ok(await admin.getUserById(id)).user.id, id))
  await h.step('list', async () => {
    const { users, aud, total } = h.ok(await admin.listUsers({ page: 1, perPage: 1000 }))
    assert.equal(aud, 'authenticated')
    assert.equal(users.filter((user) => user.id === id).length, 1)
    assert.equal(total, users.length)
  })
  await h.step('update', async () => {
    const { user } = h.ok(
      await admin.updateUserById(id, { user_metadata: { name: 'Changed' }, app_metadata: { plan: 'premium' } })
    )
    assert.equal(user.user_metadata.name, 'Changed')
    assert.equal(user.app_metadata.plan, 'premium')
    assert.equal(user.app_metadata.provider, 'email')
    h.ok(await admin.updateUserById(id, { password: h.OTHER_PASSWORD }))
    h.refused(await h.device().signInWithPassword({ email, password: h.PASSWORD }), 400, 'invalid_credentials')
    h.ok(await h.device().signInWithPassword({ email, password: h.OTHER_PASSWORD }))
  })
  await h.step('delete', async () => {
    const auth = await h.signedIn({ email, password: h.OTHER_PASSWORD })
    const { access_token, refresh_token } = await h.session(auth)
    assert.equal(h.ok(await admin.deleteUser(id)).user.id, id)
    h.refused(await admin.getUserById(id), 404, 'user_not_found')
    assert.ok((await auth.getUser(access_token)).error)
    h.refused(await h.device().refreshSession({ refresh_token }), 400, 'refresh_token_not_found')
    h.refused(await h.device().signInWithPassword({ email, password: h.OTHER_PASSWORD }), 400, 'invalid_credentials')
  })
  await h.step('the address is free again', async () => {
    assert.notEqual(h.ok(await admin.createUser({ email, email_confirm: true })).user.id, id)
  })
}

export async function page_by_page() {
  const admin = h.administrator()
  await h.step('three people', () => Promise.all([h.person(), h.person(), h.person()]))
  await h.step('one on each page', async () => {
    const pages = await Promise.all([1, 2].map(async (page) => h.ok(await admin.listUsers({ page, perPage: 1 }))))
    assert.deepEqual(pages.map(({ users }) => users.length), [1, 1])
    assert.notEqual(pages[0].users[0].id, pages[1].users[0].id)
    assert.equal(pages[0].nextPage, 2)
    assert.ok(pages[0].total >= 3)
  })
  await h.step('beyond the last page', async () => {
    assert.deepEqual(h.ok(await admin.listUsers({ page: 100000, perPage: 50 })).users, [])
  })
}

export async function an_address_that_is_still_to_be_confirmed() {
  const admin = h.administrator()
  const email = h.address()
  await h.step('create', async () => {
    h.ok(await admin.createUser({ email, password: h.PASSWORD }))
    assert.equal(await h.mails(email), 0)
    h.refused(await h.device().signInWithPassword({ email, password: h.PASSWORD }), 400, 'email_not_confirmed')
  })
  await h.step('confirm', async () => {
    const { users } = h.ok(await admin.listUsers({ page: 1, perPage: 1000 }))
    h.ok(await admin.updateUserById(users.find((user) => user.email === email).id, { email_confirm: true }))
    h.ok(await h.device().signInWithPassword({ email, password: h.PASSWORD }))
  })
}

export async function links_without_a_mail() {
  const admin = h.administrator()
  const redirectTo = `${h.SITE}/from-a-link`
  const { email } = await h.step('somebody is here', () => h.person())
  for (const [type, more] of [
    ['signup', { email: h.address(), password: h.PASSWORD }],
    ['invite', { email: h.address() }],
    ['magiclink', { email }],
    ['recovery', { email }],
  ]) {
    await h.step(type, async () => {
      const { properties, user } = h.ok(await admin.generateLink({ type, ...more, options: { redirectTo } }))
      assert.equal(user.email, more.email)
      assert.equal(properties.verification_type, type)
      assert.equal(properties.redirect_to, redirectTo)
      assert.match(properties.email_otp, /^\d{6}$/)
      assert.equal(new URL(properties.action_link).searchParams.get('token'), properties.hashed_token)
      assert.ok(properties.action_link.startsWith(`${h.SITE}/auth/v1/verify?`))
      const { place, fragment } = await h.follow(properties.action_link)
      assert.equal(place, redirectTo)
      assert.equal(h.ok(await h.device().setSession(fragment)).user.email, more.email)
      assert.equal(await h.mails(more.email), 0)
    })
  }
  await h.step('its code and its hash do the same', async () => {
    const first = h.ok(await admin.generateLink({ type: 'magiclink', email })).properties
    h.ok(await h.device().verifyOtp({ email, token: first.email_otp, type: 'email' }))
    const second = h.ok(await admin.generateLink({ type: 'recovery', email })).properties
    h.ok(await h.device().verifyOtp({ token_hash: second.hashed_token, type: 'recovery' }))
  })
}

export async function barred_for_a_while() {
  const admin = h.administrator()
  const somebody = await h.step('somebody is here', () => h.person())
  const session = await h.step('signed in', async () => h.session(await h.signedIn(somebody)))
  await h.step('barred', async () => {
    const { user } = h.ok(await admin.updateUserById(somebody.id, { ban_duration: '24h' }))
    assert.ok(Date.parse(user.banned_until) > Date.now() + 23 * 3600 * 1000)
    h.refused(await h.device().signInWithPassword(somebody), 400, 'user_banned')
    await h.is_over(session)
  })
  await h.step('no longer', async () => {
    h.ok(await admin.updateUserById(somebody.id, { ban_duration: 'none' }))
    h.ok(await h.device().signInWithPassword(somebody))
    await h.is_over(session)
  })
}

export async function deleted_but_kept() {
  const admin = h.administrator()
  const somebody = await h.step('somebody is here', () => h.person())
  const session = await h.step('signed in', async () => h.session(await h.signedIn(somebody)))
  await h.step('delete', async () => h.ok(await admin.deleteUser(somebody.id, true)))
  await h.step('nobody sees them any more', async () => {
    h.refused(await admin.getUserById(somebody.id), 404, 'user_not_found')
    h.refused(await h.device().signInWithPassword(somebody), 400, 'invalid_credentials')
    assert.ok((await h.device().getUser(session.access_token)).error)
  })
  await h.step('the address is free again', async () => {
    const { user } = h.ok(await admin.createUser({ email: somebody.email, email_confirm: true }))
    assert.notEqual(user.id, somebody.id)
  })
}

export async function another_s_sessions() {
  const auth = await h.step('sign in', async () => h.signedIn(await h.person()))
  await h.step('sign them out', async () => {
    const { access_token } = await h.session(auth)
    h.ok(await h.administrator().signOut(access_token, 'global'))
    assert.equal((await auth.getUser()).error?.name, 'AuthSessionMissingError')
  })
}

export async function another_s_factors() {
  const admin = h.administrator()
  const somebody = await h.step('somebody is here', () => h.person())
  const auth = await h.step('sign in', () => h.signedIn(somebody))
  await h.step('with a second factor', async () => {
    const { id, totp } = h.ok(await auth.mfa.enroll({ factorType: 'totp' }))
    h.ok(await auth.mfa.challengeAndVerify({ factorId: id, code: h.totp(totp.secret) }))
  })
  await h.step('list and delete', async () => {
    const { factors } = h.ok(await admin.mfa.listFactors({ userId: somebody.id }))
    assert.equal(factors.length, 1)
    h.ok(await admin.mfa.deleteFactor({ userId: somebody.id, id: factors[0].id }))
    assert.deepEqual(h.ok(await admin.mfa.listFactors({ userId: somebody.id })).factors, [])
  })
  await h.step('what stood on it stands on the password alone', async () => {
    assert.equal(h.claims(h.ok(await auth.refreshSession()).session.access_token).aal, 'aal1')
  })
}

export async function who_is_no_administrator() {
  const somebody = await h.step('somebody is here', () => h.person())
  const auth = await h.step('sign in', () => h.signedIn(somebody))
  await h.step('the public key administers nobody', async () => {
    for (const answer of await Promise.all([
      auth.admin.listUsers(),
      auth.admin.getUserById(somebody.id),
      auth.admin.createUser({ email: h.address(), email_confirm: true }),
      auth.admin.updateUserById(somebody.id, { app_metadata: { plan: 'premium' } }),
      auth.admin.deleteUser(somebody.id),
      auth.admin.generateLink({ type: 'magiclink', email: somebody.email }),
      auth.admin.inviteUserByEmail(h.address()),
    ])) {
      assert.ok([401, 403].includes(answer.error?.status), JSON.stringify(answer))
    }
  })
  await h.step('nobody gives themselves what is not theirs to give', async () => {
    const tried = await auth.updateUser({ app_metadata: { plan: 'premium' }, role: 'service_role', data: { plan: 1 } })
    const { user } = h.ok(await auth.getUser())
    assert.equal(user.app_metadata.plan, undefined, JSON.stringify(tried))
    assert.equal(user.role, 'authenticated')
  })
  await h.step('somebody unknown', async () => {
    h.refused(await h.administrator().getUserById(randomUUID()), 404, 'user_not_found')
  })
}
