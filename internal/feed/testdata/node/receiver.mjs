// A receiver of events that knows the hub by its documents alone: oauth4webapi finds the token endpoint and gets tokens with
// private_key_jwt, jose verifies SETs with the keys that the hub publishes and signs an answer. What it is to do comes as JSON on
// standard input, what it saw goes to standard output.
import assert from 'node:assert/strict'
import { webcrypto } from 'node:crypto'
import { text } from 'node:stream/consumers'

globalThis.crypto ??= webcrypto // Node 18 has them, but not here
globalThis.CryptoKey ??= webcrypto.CryptoKey
const jose = await import('jose')
const oauth = await import('oauth4webapi')

const insecure = { [oauth.allowInsecureRequests]: true } // the hub of a test is on loopback

async function discover(issuer) {
  const url = new URL(issuer)
  const answer = await oauth.discoveryRequest(url, { algorithm: 'oauth2', ...insecure })
  return oauth.processDiscoveryResponse(url, answer)
}

async function token(server, client, key, scope) {
  const auth = oauth.PrivateKeyJwt({ key, kid: client.key.kid })
  const me = { client_id: client.id }
  const answer = await oauth.clientCredentialsGrantRequest(server, me, auth, { scope }, insecure)
  return (await oauth.processClientCredentialsResponse(server, me, answer)).access_token
}

function post(url, bearer, contentType, body) {
  return fetch(url, { method: 'POST', headers: { authorization: `Bearer ${bearer}`, 'content-type': contentType, accept: 'application/json' }, body })
}

// poll asks once as RFC 8936 says, and gives what is there.
async function poll(url, bearer, request) {
  const answer = await post(url, bearer, 'application/json', JSON.stringify({ returnImmediately: true, ...request }))
  assert.equal(answer.status, 200)
  return answer.json()
}

async function verify(set, keys, client, issuer) {
  const { payload, protectedHeader } = await jose.jwtVerify(set, keys, {
    issuer, audience: client.id, typ: 'secevent+jwt', algorithms: [client.alg], requiredClaims: ['jti', 'iat', 'sub_id', 'events'],
  })
  assert.ok(!('exp' in payload) && !('sub' in payload) && !('nbf' in payload))
  assert.equal(Object.keys(payload.events).length, 1)
  return { kid: protectedHeader.kid, ...payload }
}

// damaged gives SETs of which none may verify.
async function damaged(set, keys, client, issuer) {
  const [head, body, signature] = set.split('.')
  const other = jose.base64url.encode(JSON.stringify({ ...jose.decodeJwt(set), aud: client.id, jti: 'another' }))
  const flipped = (signature[0] === 'A' ? 'B' : 'A') + signature.slice(1)
  for (const wrong of [`${head}.${other}.${signature}`, `${head}.${body}.${flipped}`, `${head}.${body}.`]) {
    await assert.rejects(verify(wrong, keys, client, issuer))
  }
  await assert.rejects(verify(set, keys, { ...client, id: 'somebody-else' }, issuer))
  await assert.rejects(verify(set, keys, client, issuer + '/other'))
}

// answer answers a task of a verified SET with a SET of its own.
async function answer(issuer, bearer, client, key, task) {
  const event = { task_id: task.id, outcome: 'unbound', reason: 'removed', tenure_id: task.tenure.id, digest: task.digest }
  const sign = (audience) => new jose.SignJWT({ sub_id: { format: 'opaque', id: task.id }, events: { 'urn:huanxin:event:unbind-result': event } })
    .setProtectedHeader({ alg: 'ES256', typ: 'secevent+jwt', kid: client.key.kid })
    .setIssuer(client.id).setAudience(audience).setIssuedAt().setJti(crypto.randomUUID()).sign(key)
  const send = (set) => post(issuer + '/ssf/events', bearer, 'application/secevent+jwt', set)

  const refused = await send(await sign('https://elsewhere.example'))
  assert.equal(refused.status, 400)
  assert.equal((await refused.json()).err, 'invalid_audience')
  for (let i = 0; i < 2; i++) {
    const taken = await send(await sign(issuer))
    assert.equal(taken.status, 202, await taken.clone().text())
    assert.equal(await taken.text(), '')
  }
}

const work = JSON.parse(await text(process.stdin))
const server = await discover(work.issuer)
const keys = jose.createRemoteJWKSet(new URL(server.jwks_uri))
const seen = {}
for (const client of work.clients) {
  const key = await jose.importJWK(client.key, 'ES256')
  const bearer = await token(server, client, key, 'tasks.work ssf.read')
  seen[client.id] = {}
  for (let acks = []; ;) { // of one number the next SET comes when the one before is acknowledged
    const { sets } = await poll(client.poll, bearer, { maxEvents: 100, ack: acks })
    acks = Object.keys(sets)
    if (acks.length === 0) break
    for (const [jti, set] of Object.entries(sets)) {
      assert.ok(!(jti in seen[client.id]))
      const claims = await verify(set, keys, client, work.issuer)
      assert.equal(claims.jti, jti)
      await damaged(set, keys, client, work.issuer)
      seen[client.id][jti] = claims
      const task = claims.events['urn:huanxin:event:unbind-requested']
      if (task && client.answers) await answer(work.issuer, bearer, client, key, task)
    }
  }
}
console.log(JSON.stringify(seen))
