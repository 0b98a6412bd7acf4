// By address and password, from sign-up to a changed password.
import assert from 'node:assert/strict'
import * as h from '../harness.js'

export async function from_sign_up_to_a_changed_password() {
  const email = h.address('Ada.Lovelace')
  const auth = h.device()

  await h.step('sign up', async () => {
    const options = { data: { name: 'Ada' }, emailRedirectTo: `${h.SITE}/welcome?from=mail` }
    const { user, session } = h.ok(await auth.signUp({ email, password: h.PASSWORD, options }))
    assert.equal(session, null)
    assert.equal(user.email, email.toLowerCase())
    assert.equal(user.identities.length, 1)
    assert.equal(user.email_confirmed_at, undefined)
    assert.ok(user.confirmation_sent_at)
  })
  await h.step('sign in before the address is confirmed', async () => {
    h.refused(await auth.signInWithPassword({ email, password: h.PASSWORD }), 400, 'email_not_confirmed')
    h.refused(await auth.signInWithPassword({ email, password: h.OTHER_PASSWORD }), 400, 'invalid_credentials')
  })
  const { link } = await h.step('the mail', async () => {
    const found = await h.mail(email.toLowerCase())
    assert.ok(found.link.startsWith(`${h.SITE}/auth/v1/verify?`), found.link)
    assert.match(found.code, /^\d{6}$/)
    return found
  })
  await h.step('follow its link', async () => {
    const { place, query, fragment } = await h.follow(link)
    assert.equal(place, `${h.SITE}/welcome`)
    assert.deepEqual(query, { from: 'mail' })
    assert.equal(fragment.type, 'signup')
    assert.equal(fragment.token_type, 'bearer')
    assert.ok(Math.abs(Number(fragment.expires_at) - Number(fragment.expires_in) - Date.now() / 1000) < 30)
    const { user, session } = h.ok(await auth.setSession(fragment))
    assert.ok(user.email_confirmed_at)
    assert.equal(session.user.id, user.id)
  })
  await h.step('follow it again', async () => {
    const { fragment } = await h.follow(link)
    assert.equal(fragment.error, 'access_denied')
    assert.equal(fragment.error_code, 'otp_expired')
    assert.equal(fragment.access_token, undefined)
  })
  await h.step('sign in, the address in another case', async () => {
    const { session, user } = h.ok(await auth.signInWithPassword({ email: email.toUpperCase(), password: h.PASSWORD }))
    assert.equal(session.token_type, 'bearer')
    assert.ok(session.expires_in > 0)
    assert.ok(Math.abs(session.expires_at - session.expires_in - Date.now() / 1000) < 30)
    assert.ok(session.refresh_token.length >= 12)
    assert.ok(Date.parse(user.last_sign_in_at))
  })
  await h.step('get the user', async () => {
    const { user } = h.ok(await auth.getUser())
    assert.equal(user.aud, 'authenticated')
    assert.equal(user.role, 'authenticated')
    assert.equal(user.phone, '')
    assert.equal(user.is_anonymous, false)
    assert.equal(user.confirmed_at, user.email_confirmed_at)
    assert.equal(user.user_metadata.name, 'Ada')
    assert.deepEqual(user.app_metadata, { provider: 'email', providers: ['email'] })
    assert.equal(user.factors, undefined)
    for (const name of ['created_at', 'updated_at', 'email_confirmed_at']) assert.ok(Date.parse(user[name]), name)
    for (const name of Object.keys(user)) assert.doesNotMatch(name, /password|token|instance/, name)
    const [identity] = user.identities
    assert.equal(identity.provider, 'email')
    assert.equal(identity.id, user.id)
    assert.equal(identity.user_id, user.id)
    assert.notEqual(identity.identity_id, user.id)
    assert.equal(identity.identity_data.email, user.email)
    assert.equal(identity.identity_data.email_verified, true)
    assert.deepEqual(h.ok(await auth.getUserIdentities()).identities, user.identities)
  })
  await h.step('verify the token with the published keys', async () => {
    const { claims, header } = h.ok(await auth.getClaims())
    const { user } = await h.session(auth)
    assert.equal(header.alg, 'ES256')
    assert.equal(claims.iss, `${h.SITE}/auth/v1`)
    assert.equal(claims.aud, 'authenticated')
    assert.equal(claims.sub, user.id)
    assert.equal(claims.email, user.email)
    assert.equal(claims.role, 'authenticated')
    assert.equal(claims.aal, 'aal1')
    assert.equal(claims.is_anonymous, false)
    assert.equal(claims.user_metadata.name, 'Ada')
    assert.equal(claims.app_metadata.provider, 'email')
    assert.deepEqual(claims.amr.map(({ method }) => method), ['password'])
    assert.match(claims.session_id, /^[0-9a-f-]{36}$/)
  })
  await h.step('change what the user says of themselves', async () => {
    h.ok(await auth.updateUser({ data: { name: 'Ada L.', tags: ['first', { deep: null }] } }))
    h.ok(await auth.updateUser({ data: { city: 'Zürich 🌊' } }))
    const { user } = h.ok(await auth.getUser())
    assert.equal(user.user_metadata.name, 'Ada L.')
    assert.equal(user.user_metadata.city, 'Zürich 🌊')
    assert.deepEqual(user.user_metadata.tags, ['first', { deep: null }])
  })
  await h.step('change the password', async () => {
    h.refused(await auth.updateUser({ password: h.PASSWORD }), 422, 'same_password')
    h.ok(await auth.updateUser({ password: h.OTHER_PASSWORD }))
    h.refused(await h.device().signInWithPassword({ email, password: h.PASSWORD }), 400, 'invalid_credentials')
    h.ok(await h.device().signInWithPassword({ email, password: h.OTHER_PASSWORD }))
  })
}

export async function confirmed_by_the_code_of_the_mail() {
  const email = h.address()
  const auth = h.device()
  const { code } = await h.step('sign up', async () => {
    h.ok(await auth.signUp({ email, password: h.PASSWORD }))
    return h.mail(email)
  })
  await h.step('another code', async () => {
    const token = code === '123456' ? '654321' : '123456'
    h.refused(await auth.verifyOtp({ email, token, type: 'signup' }), 403, 'otp_expired')
  })
  await h.step('the code for another purpose', async () => {
    h.refused(await auth.verifyOtp({ email, token: code, type: 'recovery' }), 403, 'otp_expired')
  })
  await h.step('the code', async () => {
    const { session, user } = h.ok(await auth.verifyOtp({ email, token: code, type: 'email' }))
    assert.equal(user.email, email)
    assert.ok(user.email_confirmed_at)
    assert.ok(session.access_token)
    h.ok(await auth.getUser())
  })
  await h.step('the code again', async () => {
    h.refused(await h.device().verifyOtp({ email, token: code, type: 'email' }), 403, 'otp_expired')
  })
}

export async function a_mail_that_is_sent_again() {
  const email = h.address()
  const auth = h.device()
  const first = await h.step('sign up', async () => {
    h.ok(await auth.signUp({ email, password: h.PASSWORD }))
    return h.mail(email)
  })
  const second = await h.step('send it again', async () => {
    h.ok(await auth.resend({ type: 'signup', email }))
    return h.mail(email, 2)
  })
  await h.step('only the newest counts', async () => {
    h.refused(await auth.verifyOtp({ email, token: first.code, type: 'signup' }), 403, 'otp_expired')
    h.ok(await auth.verifyOtp({ email, token: second.code, type: 'signup' }))
  })
  await h.step('nothing is sent to who is confirmed, or unknown, and nobody can tell', async () => {
    const known = h.ok(await h.device().resend({ type: 'signup', email }))
    const unknown = h.ok(await h.device().resend({ type: 'signup', email: h.address() }))
    assert.deepEqual(known, unknown)
    assert.equal(await h.mails(email), 2)
  })
}

export async function weak_passwords() {
  const auth = h.device()
  for (const [what, password] of [
    ['too short', 'fourteen chars'],
    ['known to everybody', 'passwordpassword'],
  ]) {
    await h.step(what, async () => {
      const error = h.refused(await auth.signUp({ email: h.address(), password }), 422, 'weak_password')
      assert.equal(error.name, 'AuthWeakPasswordError')
      assert.ok(error.reasons.length > 0)
    })
  }
  await h.step('one that is set later', async () => {
    const somebody = await h.signedIn(await h.person())
    const error = h.refused(await somebody.updateUser({ password: 'short' }), 422, 'weak_password')
    assert.deepEqual(error.reasons, ['length'])
  })
}

export async function an_address_that_is_taken() {
  const { id, email, password } = await h.step('somebody is here', () => h.person())
  const answer = await h.step('sign up with their address', async () => {
    const { user, session } = h.ok(await h.device().signUp({ email, password: h.OTHER_PASSWORD }))
    assert.equal(session, null)
    assert.notEqual(user.id, id)
    assert.equal(user.email, email)
    return user
  })
  await h.step('what was answered looks like a new one', async () => {
    const { user } = h.ok(await h.device().signUp({ email: h.address(), password: h.OTHER_PASSWORD }))
    assert.deepEqual(Object.keys(answer), Object.keys(user))
    assert.deepEqual(Object.keys(answer.identities[0] ?? {}), Object.keys(user.identities[0] ?? {}))
  })
  await h.step('nothing has changed for them', async () => {
    const auth = h.device()
    h.refused(await auth.signInWithPassword({ email, password: h.OTHER_PASSWORD }), 400, 'invalid_credentials')
    assert.equal(h.ok(await auth.signInWithPassword({ email, password })).user.id, id)
  })
}

export async function without_a_name() {
  await h.step('an anonymous sign-in', async () => {
    h.refused(await h.device().signInAnonymously(), 422, 'anonymous_provider_disabled')
  })
  await h.step('no session, no user', async () => {
    const { error } = await h.device().getUser()
    assert.equal(error.name, 'AuthSessionMissingError')
  })
}

export async function what_is_not_there_says_so() {
  const auth = await h.step('somebody signs in', async () => h.signedIn(await h.person()))
  const { identities } = (await h.session(auth)).user
  for (const [what, call] of Object.entries({
    'a telephone': () => h.device().signUp({ phone: '+15550100', password: h.PASSWORD }),
    'a code by telephone': () => h.device().signInWithOtp({ phone: '+15550100' }),
    'a token of somebody else': () => h.device().signInWithIdToken({ provider: 'google', token: 'x.y.z' }),
    'a company': () => h.device().signInWithSSO({ domain: 'example.org' }),
    'without the only identity': () => auth.unlinkIdentity(identities[0]),
  })) {
    await h.step(what, async () => {
      const { error } = await call()
      assert.equal(error?.name, 'AuthApiError')
      assert.ok(error.status >= 400 && error.status < 500)
      assert.equal(typeof error.code, 'string')
    })
  }
  await h.step('and they are still signed in', async () => h.ok(await auth.getUser()))
}
