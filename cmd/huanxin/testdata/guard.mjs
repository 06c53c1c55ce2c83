// How a program in another language asks the guard. What is not an answer counts as step_up.
const url = process.env.GUARD_URL

async function decide(number, boundAt, lastProof) {
  try {
    const answer = await fetch(url + '/decide', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ number, bound_at: boundAt, last_proof: lastProof }),
      signal: AbortSignal.timeout(5000),
    })
    return await answer.json()
  } catch {
    return { decision: 'step_up', reason: 'no_answer' }
  }
}

const out = []
for (const [number, boundAt, lastProof] of JSON.parse(process.env.QUESTIONS)) {
  const { decision, reason, as_of, age_seconds } = await decide(number, boundAt, lastProof)
  out.push(`${decision} ${reason} ${as_of} ${age_seconds}`)
}
console.log(out.join('\n'))
