// What comes by mail: links and codes, for a browser and for an app.
import assert from 'node:assert/strict'
import * as h from '../harness.js'

export async function a_forgotten_password() {
  const { email } = await h.step('somebody is here', () => h.person())
  await h.step('ask for a mail', async () => {
    const answer = h.ok(await h.device().resetPasswordForEmail(email, { redirectTo: `${h.SITE}/new-password` }))
    assert.deepEqual(answer, h.ok(await h.device().resetPasswordForEmail(h.address())))
  })
  const auth = h.device()
  await h.step('follow its link', async () => {
    const { place, fragment } = await h.follow((await h.mail(email)).link)
    assert.equal(place, `${h.SITE}/new-password`)
    assert.equal(fragment.type, 'recovery')
    h.ok(await auth.setSession(fragment))
  })
  await h.step('set another', async () => {
    h.ok(await auth.updateUser({ password: h.OTHER_PASSWORD }))
    h.refused(await h.device().signInWithPassword({ email, password: h.PASSWORD }), 400, 'invalid_credentials')
    h.ok(await h.device().signInWithPassword({ email, password: h.OTHER_PASSWORD }))
  })
}

export async function a_forgotten_password_by_code() {
  const { email } = await h.step('somebody is here', () => h.person())
  await h.step('ask for a mail', async () => h.ok(await h.device().resetPasswordForEmail(email)))
  await h.step('give its code', async () => {
    const auth = h.device()
    const { code } = await h.mail(email)
    const told = new Promise((resolve) => auth.onAuthStateChange((event) => event === 'PASSWORD_RECOVERY' && resolve()))
    h.ok(await auth.verifyOtp({ email, token: code, type: 'recovery' }))
    await told
    h.ok(await auth.updateUser({ password: h.OTHER_PASSWORD }))
    h.refused(await h.device().verifyOtp({ email, token: code, type: 'recovery' }), 403, 'otp_expired')
  })
}

export async function a_link_instead_of_a_password() {
  const { id, email } = await h.step('somebody is here', () => h.person())
  await h.step('ask for a mail', async () => {
    h.ok(await h.device().signInWithOtp({ email, options: { shouldCreateUser: false } }))
  })
  await h.step('follow its link', async () => {
    const { place, fragment } = await h.follow((await h.mail(email)).link)
    assert.equal(place, h.SITE + '/')
    assert.equal(fragment.type, 'magiclink')
    const { user } = h.ok(await h.device().setSession(fragment))
    assert.equal(user.id, id)
    assert.deepEqual(h.claims(fragment.access_token).amr.map(({ method }) => method), ['otp'])
  })
}

export async function a_code_instead_of_a_password() {
  const email = h.address()
  await h.step('somebody new asks for a mail', async () => {
    h.ok(await h.device().signInWithOtp({ email, options: { data: { name: 'Grace' } } }))
  })
  await h.step('give its code', async () => {
    const { code } = await h.mail(email)
    const { user } = h.ok(await h.device().verifyOtp({ email, token: code, type: 'email' }))
    assert.ok(user.email_confirmed_at)
    assert.equal(user.user_metadata.name, 'Grace')
  })
  await h.step('again, as somebody known', async () => {
    h.ok(await h.device().signInWithOtp({ email }))
    const { code } = await h.mail(email, 2)
    h.ok(await h.device().verifyOtp({ email, token: code, type: 'email' }))
  })
  await h.step('there is no password', async () => {
    h.refused(await h.device().signInWithPassword({ email, password: h.PASSWORD }), 400, 'invalid_credentials')
  })
}

export async function the_hash_of_a_link_in_an_app() {
  const { email } = await h.step('somebody is here', () => h.person())
  await h.step('ask for a mail', async () => h.ok(await h.device().signInWithOtp({ email })))
  await h.step('the hash signs in once', async () => {
    const token_hash = new URL((await h.mail(email)).link).searchParams.get('token')
    h.ok(await h.device().verifyOtp({ token_hash, type: 'email' }))
    h.refused(await h.device().verifyOtp({ token_hash, type: 'email' }), 403, 'otp_expired')
  })
}

export async function pkce_after_sign_up() {
  const email = h.address()
  const auth = h.device({ flowType: 'pkce' })
  await h.step('sign up', async () => h.ok(await auth.signUp({ email, password: h.PASSWORD })))
  await h.step('exchange what the link brings', async () => {
    const { query, fragment } = await h.follow((await h.mail(email)).link)
    assert.ok(query.code)
    assert.equal(fragment.access_token, undefined)
    const { session, user } = h.ok(await auth.exchangeCodeForSession(query.code))
    assert.equal(user.email, email)
    assert.ok(session.access_token)
    h.ok(await auth.getUser())
  })
}

export async function pkce_after_a_link() {
  const { email } = await h.step('somebody is here', () => h.person())
  const auth = h.device({ flowType: 'pkce' })
  const code = await h.step('ask for a mail and follow its link', async () => {
    h.ok(await auth.signInWithOtp({ email, options: { emailRedirectTo: `${h.SITE}/callback` } }))
    const { place, query } = await h.follow((await h.mail(email)).link)
    assert.equal(place, `${h.SITE}/callback`)
    return query.code
  })
  await h.step('a code that nobody gave', async () => {
    const other = h.device({ flowType: 'pkce' })
    h.ok(await other.signInWithOtp({ email: h.address() }))
    const made_up = '00000000-0000-4000-8000-000000000000'
    h.refused(await other.exchangeCodeForSession(made_up), 404, 'flow_state_not_found')
  })
  await h.step('exchange it', async () => h.ok(await auth.exchangeCodeForSession(code)))
  await h.step('it is good once', async () => {
    const again = h.device({ flowType: 'pkce' })
    h.ok(await again.resetPasswordForEmail(h.address()))
    h.refused(await again.exchangeCodeForSession(code), 404, 'flow_state_not_found')
  })
}

export async function pkce_with_the_verifier_of_another_device() {
  const { email } = await h.step('somebody is here', () => h.person())
  const [auth, thief] = [h.device({ flowType: 'pkce' }), h.device({ flowType: 'pkce' })]
  await h.step('another device has a code', async () => {
    h.ok(await thief.resetPasswordForEmail(h.address()))
    h.ok(await auth.resetPasswordForEmail(email))
    const { query } = await h.follow((await h.mail(email)).link)
    h.refused(await thief.exchangeCodeForSession(query.code), 400, 'bad_code_verifier')
  })
}

export async function pkce_with_a_link_that_is_spent() {
  const { email } = await h.step('somebody is here', () => h.person())
  await h.step('the second time it says why', async () => {
    h.ok(await h.device({ flowType: 'pkce' }).signInWithOtp({ email }))
    const { link } = await h.mail(email)
    await h.follow(link)
    const { query } = await h.follow(link)
    assert.equal(query.code, undefined)
    assert.equal(query.error_code, 'otp_expired')
  })
}

export async function another_address() {
  const { id, email, password } = await h.step('somebody is here', () => h.person())
  const auth = await h.step('sign in', () => h.signedIn({ email, password }))
  const next = h.address('next')
  await h.step('ask for it', async () => {
    const { user } = h.ok(await auth.updateUser({ email: next }))
    assert.equal(user.email, email)
    assert.equal(user.new_email, next)
  })
  await h.step('the former address says yes', async () => {
    const { code } = await h.mail(email)
    const { user, session } = h.ok(await h.device().verifyOtp({ email, token: code, type: 'email_change' }))
    assert.equal(user, null)
    assert.equal(session, null)
    h.refused(await h.device().signInWithPassword({ email: next, password }), 400, 'invalid_credentials')
  })
  await h.step('the new address says yes', async () => {
    const { code } = await h.mail(next)
    const { user } = h.ok(await h.device().verifyOtp({ email: next, token: code, type: 'email_change' }))
    assert.equal(user.id, id)
    assert.equal(user.email, next)
    assert.equal(user.new_email, undefined)
    assert.equal(user.identities[0].identity_data.email, next)
  })
  await h.step('it is the one to sign in with', async () => {
    h.ok(await h.device().signInWithPassword({ email: next, password }))
    h.refused(await h.device().signInWithPassword({ email, password }), 400, 'invalid_credentials')
  })
}

export async function an_address_of_somebody_else() {
  const [one, other] = await h.step('two people', () => Promise.all([h.person(), h.person()]))
  await h.step('the one wants the address of the other', async () => {
    const auth = await h.signedIn(one)
    h.refused(await auth.updateUser({ email: other.email.toUpperCase() }), 422, 'email_exists')
  })
}

export async function proving_oneself_again() {
  const somebody = await h.step('somebody is here', () => h.person())
  const auth = await h.step('sign in', () => h.signedIn(somebody))
  await h.step('ask for a code and change the password with it', async () => {
    h.ok(await auth.reauthenticate())
    const { code } = await h.mail(somebody.email)
    h.ok(await auth.updateUser({ password: h.OTHER_PASSWORD, nonce: code }))
    h.ok(await h.device().signInWithPassword({ email: somebody.email, password: h.OTHER_PASSWORD }))
  })
}

export async function invited() {
  const email = h.address('Guest')
  await h.step('invite', async () => {
    const options = { data: { team: 'blue' }, redirectTo: `${h.SITE}/start` }
    const { user } = h.ok(await h.administrator().inviteUserByEmail(email, options))
    assert.equal(user.email, email.toLowerCase())
    assert.ok(user.invited_at)
    assert.equal(user.email_confirmed_at, undefined)
  })
  await h.step('follow the link and choose a password', async () => {
    const auth = h.device()
    const { place, fragment } = await h.follow((await h.mail(email.toLowerCase())).link)
    assert.equal(place, `${h.SITE}/start`)
    assert.equal(fragment.type, 'invite')
    const { user } = h.ok(await auth.setSession(fragment))
    assert.equal(user.user_metadata.team, 'blue')
    assert.ok(user.email_confirmed_at)
    h.ok(await auth.updateUser({ password: h.PASSWORD }))
    h.ok(await h.device().signInWithPassword({ email, password: h.PASSWORD }))
  })
  await h.step('who is here is not invited', async () => {
    h.refused(await h.administrator().inviteUserByEmail(email), 422, 'email_exists')
  })
}
