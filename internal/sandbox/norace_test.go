//go:build !race

package sandbox

const onceTestSpeed = OnceSpeed
