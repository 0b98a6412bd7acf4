// A second factor: enrolled, asked for, taken away.
import assert from 'node:assert/strict'
import * as h from '../harness.js'

/** What the client does not do yet unless it is asked to. */
const ahead = { experimental: { recoveryCodes: true } }

async function enrolled(somebody, options) {
  const auth = await h.signedIn(somebody, options)
  const factor = h.ok(await auth.mfa.enroll({ factorType: 'totp', friendlyName: 'phone' }))
  const spent = h.totp(factor.totp.secret)
  h.ok(await auth.mfa.challengeAndVerify({ factorId: factor.id, code: spent }))
  return { auth, factorId: factor.id, secret: factor.totp.secret, spent }
}

const level = async (auth) => {
  const { currentLevel, nextLevel } = h.ok(await auth.mfa.getAuthenticatorAssuranceLevel())
  return [currentLevel, nextLevel]
}

export async function from_enrolment_to_the_second_level() {
  const somebody = await h.step('somebody is here', () => h.person())
  const auth = await h.step('sign in', () => h.signedIn(somebody))
  const other = await h.step('on another device too', () => h.signedIn(somebody))
  const factor = await h.step('enrol', async () => {
    assert.deepEqual(await level(auth), ['aal1', 'aal1'])
    const made = h.ok(await auth.mfa.enroll({ factorType: 'totp', friendlyName: 'phone', issuer: 'MAIA' }))
    assert.equal(made.type, 'totp')
    assert.equal(made.friendly_name, 'phone')
    assert.match(made.totp.qr_code, /^data:image\/svg\+xml;utf-8,.*<svg/s)
    const uri = new URL(made.totp.uri)
    assert.equal(uri.protocol, 'otpauth:')
    assert.equal(uri.searchParams.get('secret'), made.totp.secret)
    assert.equal(uri.searchParams.get('issuer'), 'MAIA')
    return made
  })
  const challenge = await h.step('be challenged', async () => {
    const made = h.ok(await auth.mfa.challenge({ factorId: factor.id }))
    assert.equal(made.type, 'totp')
    assert.ok(made.expires_at > Date.now() / 1000)
    return made
  })
  await h.step('a wrong code', async () => {
    const tried = { factorId: factor.id, challengeId: challenge.id, code: h.wrong(factor.totp.secret) }
    h.refused(await auth.mfa.verify(tried), 422, 'mfa_verification_failed')
    assert.deepEqual(await level(auth), ['aal1', 'aal1'])
  })
  await h.step('the code', async () => {
    const code = h.totp(factor.totp.secret)
    const made = h.ok(await auth.mfa.verify({ factorId: factor.id, challengeId: challenge.id, code }))
    assert.equal(made.user.id, somebody.id)
    assert.equal(made.token_type, 'bearer')
    h.ok(await auth.getUser())
    h.ok(await auth.refreshSession())
    assert.deepEqual(await level(auth), ['aal2', 'aal2'])
    const methods = h.claims((await h.session(auth)).access_token).amr.map(({ method }) => method)
    assert.deepEqual(methods.sort(), ['password', 'totp'])
  })
  await h.step('what hangs on the password alone is over', async () => {
    const { error } = await other.getUser()
    assert.equal(error?.name, 'AuthSessionMissingError')
  })
  await h.step('the list of factors', async () => {
    const { all, totp } = h.ok(await auth.mfa.listFactors())
    assert.deepEqual(all, totp)
    assert.equal(totp[0].id, factor.id)
    assert.equal(totp[0].status, 'verified')
    assert.equal(totp[0].factor_type, 'totp')
    assert.ok(!JSON.stringify(all).includes(factor.totp.secret))
  })
}

export async function what_the_first_level_may_not() {
  const somebody = await h.step('somebody is here', () => h.person())
  const { factorId } = await h.step('with a second factor', () => enrolled(somebody))
  const auth = await h.step('sign in', () => h.signedIn(somebody))
  await h.step('the password is not enough', async () => assert.deepEqual(await level(auth), ['aal1', 'aal2']))
  await h.step('for another password', async () => {
    h.refused(await auth.updateUser({ password: h.OTHER_PASSWORD }), 401, 'insufficient_aal')
  })
  await h.step('for another address', async () => {
    h.refused(await auth.updateUser({ email: h.address() }), 401, 'insufficient_aal')
  })
  await h.step('to take the factor away', async () => {
    h.refused(await auth.mfa.unenroll({ factorId }), 422, 'insufficient_aal')
  })
  await h.step('to add another', async () => {
    h.refused(await auth.mfa.enroll({ factorType: 'totp', friendlyName: 'mine now' }), 403, 'insufficient_aal')
  })
}

export async function a_code_is_good_once() {
  const somebody = await h.step('somebody is here', () => h.person())
  const { factorId, secret, spent } = await h.step('with a second factor', () => enrolled(somebody))
  await h.step('the code that enrolled, again', async () => {
    const auth = await h.signedIn(somebody)
    const code = h.totp(secret, 1)
    h.refused(await auth.mfa.challengeAndVerify({ factorId, code: spent }), 422, 'mfa_verification_failed')
    h.ok(await auth.mfa.challengeAndVerify({ factorId, code }))
    const thief = await h.signedIn(somebody)
    h.refused(await thief.mfa.challengeAndVerify({ factorId, code }), 422, 'mfa_verification_failed')
  })
}

export async function taken_away() {
  const somebody = await h.step('somebody is here', () => h.person())
  const { auth, factorId } = await h.step('with a second factor', () => enrolled(somebody))
  await h.step('take it away', async () => {
    assert.equal(h.ok(await auth.mfa.unenroll({ factorId })).id, factorId)
    assert.deepEqual(h.ok(await auth.mfa.listFactors()).all, [])
    h.ok(await auth.refreshSession())
    assert.deepEqual(await level(auth), ['aal1', 'aal1'])
  })
}

export async function of_somebody_else() {
  const [one, other] = await h.step('two people', () => Promise.all([h.person(), h.person()]))
  const { factorId } = await h.step('the one has a second factor', () => enrolled(one))
  await h.step('the other can do nothing with it', async () => {
    const auth = await h.signedIn(other)
    h.refused(await auth.mfa.challenge({ factorId }), 404, 'mfa_factor_not_found')
    h.refused(await auth.mfa.unenroll({ factorId }), 404, 'mfa_factor_not_found')
    h.refused(await auth.mfa.verify({ factorId, challengeId: one.id, code: '000000' }), 404, 'mfa_factor_not_found')
  })
}

export async function two_of_one_name() {
  const auth = await h.step('sign in', async () => h.signedIn(await h.person()))
  await h.step('enrol both', async () => {
    h.ok(await auth.mfa.enroll({ factorType: 'totp', friendlyName: 'phone' }))
    const again = await auth.mfa.enroll({ factorType: 'totp', friendlyName: 'phone' })
    h.refused(again, 422, 'mfa_factor_name_conflict')
  })
}

export async function codes_for_when_the_phone_is_lost() {
  const somebody = await h.step('somebody is here', () => h.person())
  const { auth } = await h.step('with a second factor', () => enrolled(somebody, ahead))
  const codes = await h.step('get codes', async () => {
    const made = h.ok(await auth.mfa.recoveryCodes.generate())
    assert.equal(made.type, 'recovery_code')
    assert.equal(made.codes.length, made.total)
    assert.equal(new Set(made.codes).size, made.total)
    return made.codes
  })
  await h.step('sign in by one of them', async () => {
    const other = await h.signedIn(somebody, ahead)
    const [code] = codes
    h.refused(await other.mfa.recoveryCodes.verify({ code: 'aaaa-aaaa-aaaa' }), 422, 'mfa_verification_failed')
    h.ok(await other.mfa.recoveryCodes.verify({ code }))
    assert.deepEqual(await level(other), ['aal2', 'aal2'])
    h.ok(await other.getUser())
    const { total, remaining } = h.ok(await other.mfa.recoveryCodes.getStatus())
    assert.deepEqual([total, remaining], [codes.length, codes.length - 1])
  })
  await h.step('each is good once', async () => {
    const thief = await h.signedIn(somebody, ahead)
    h.refused(await thief.mfa.recoveryCodes.verify({ code: codes[0] }), 422, 'mfa_verification_failed')
    assert.deepEqual(await level(thief), ['aal1', 'aal2'])
  })
}
