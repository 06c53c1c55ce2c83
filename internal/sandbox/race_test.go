//go:build race

package sandbox

// onceTestSpeed makes a day 2 seconds long: with the race detector 239 apps need more than one for a day's work.
const onceTestSpeed = OnceSpeed / 2
