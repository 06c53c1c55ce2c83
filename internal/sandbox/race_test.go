//go:build race

package sandbox

// onceTestSpeed makes a day 4 seconds long: with the race detector 239 apps need more than one for a day's work, and other tests run beside.
const onceTestSpeed = OnceSpeed / 4
